//! What is shipped beside the program and says what the program knows best:
//! manual pages, completions, a configuration with comments, the reference.
//!
//! All of it comes from the two tables that parser and help read as well, the
//! options and the keys of the configuration. The same program gives the same
//! bytes on every machine: nothing here looks at the time or the environment.

mod configuration_manual;
mod manual;
mod page;
mod reference;
mod sample;

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;

/// Something that can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// Manual page portsentry(8)
    Man,
    /// Manual page portsentry.conf(5)
    ConfMan,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Configuration file with comments
    Config,
    /// Reference of all options and keys, in Markdown
    Reference,
}

impl Document {
    /// The whole text, which ends with a newline.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Man => manual::page(),
            Self::ConfMan => configuration_manual::page(),
            Self::Bash => completions(Shell::Bash),
            Self::Zsh => completions(Shell::Zsh),
            Self::Fish => completions(Shell::Fish),
            Self::Config => sample::file(),
            Self::Reference => reference::text(),
        }
    }
}

/// The options and commands, complete with what clap adds.
fn command_line() -> clap::Command {
    // A fixed width: help texts must not depend on the terminal.
    let mut command = Arguments::command().term_width(100);
    command.build();
    command
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "portsentry", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        // An option whose value is still to come does not parse, and its values
        // would not be offered: that no command stands before it is enough.
        Shell::Fish => {
            script.replace("2>/dev/null\n    or return\n", "2>/dev/null\n    or return 0\n")
        }
        _ => script.into_owned(),
    }
}

/// What help says of an option: the first paragraph, and the others.
fn option_help(option: &clap::Arg) -> (String, Vec<String>) {
    let long = option.get_long_help().or(option.get_help()).map(ToString::to_string);
    let long = long.unwrap_or_default();
    let mut paragraphs = long.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    let first = paragraphs.next().unwrap_or_default();
    (first, paragraphs.collect())
}

/// Values that an option can have, with what they mean; none if it takes any.
fn option_values(option: &clap::Arg) -> Vec<(String, String)> {
    let values = if option.get_action().takes_values() && !option.is_hide_possible_values_set() {
        option.get_possible_values()
    } else {
        vec![]
    };
    let described = values.iter().filter(|value| !value.is_hide_set());
    described
        .map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            (value.get_name().to_owned(), help)
        })
        .collect()
}

/// What holds without the option, if its table says so.
fn option_default(option: &clap::Arg) -> Option<String> {
    let takes_values = option.get_action().takes_values();
    let default = option.get_default_values().first().filter(|_| takes_values);
    default.map(|value| value.to_string_lossy().into_owned())
}

/// The name of an option's value; none if it takes none.
fn value_name(option: &clap::Arg) -> Option<String> {
    let takes_values = option.get_action().takes_values();
    let names = option.get_value_names().filter(|_| takes_values);
    names.and_then(<[_]>::first).map(ToString::to_string)
}
