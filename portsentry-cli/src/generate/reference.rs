//! docs/configuration.md: all keys and options, as tables in Markdown.

use std::fmt::Write as _;

use super::{command_line, option_default, option_help, option_values, value_name};

pub(super) fn text() -> String {
    let mut text = portsentry_config::reference::reference();
    text += "\n## Options\n";
    let command = command_line();
    options(&mut text, "portsentry", &command);
    for subcommand in command.get_subcommands() {
        let name = format!("portsentry {}", subcommand.get_name());
        options(&mut text, &name, subcommand);
    }
    text
}

fn options(text: &mut String, name: &str, command: &clap::Command) {
    let _ = writeln!(text, "\n### `{name}`\n\n| option | meaning | default |\n|---|---|---|");
    for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
        let short = option.get_short().map(|short| format!("`-{short}`"));
        let long = option.get_long().map(|long| format!("`--{long}`"));
        let value = value_name(option).map(|value| format!("`{}`", cell(&value)));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let term: Vec<String> = [names.join(", ")].into_iter().chain(value).collect();
        let (first, rest) = option_help(option);
        let mut meaning = vec![first];
        meaning.extend(rest);
        meaning
            .extend(option_values(option).iter().map(|(value, help)| format!("`{value}`: {help}")));
        let default = option_default(option).map(|it| format!("`{it}`")).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {} | {default} |",
            term.join(" ").trim(),
            cell(&meaning.join(". ").replace("..", "."))
        );
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
