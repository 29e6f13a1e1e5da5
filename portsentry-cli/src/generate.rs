//! Generated documents: manual pages, completions, a configuration with comments, the
//! reference.
//!
//! The tables of options and keys, which the parser and the help use as well, are the source. One
//! version gives the same bytes on every machine: nothing here reads the time or the environment.

mod manual;
mod reference;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use portsentry_config::reference as keys;

use crate::arguments::{Arguments, Document};

/// Returns the whole text of `document`, which ends with a newline.
pub(crate) fn text(document: Document) -> String {
    match document {
        Document::Man => manual::page(),
        Document::ConfMan => keys::manual(),
        Document::Bash => completions(Shell::Bash),
        Document::Zsh => completions(Shell::Zsh),
        Document::Fish => completions(Shell::Fish),
        Document::Config => keys::sample(),
        Document::Reference => reference::text(),
    }
}

/// Returns all options and commands, including those that clap adds.
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
        // An incomplete command line, in which the value of an option is missing, does not
        // parse. The original script then offers no values.
        Shell::Fish => {
            script.replace("2>/dev/null\n    or return\n", "2>/dev/null\n    or return 0\n")
        }
        _ => script.into_owned(),
    }
}

/// Returns the help of an option: the first paragraph, and the others.
fn option_help(option: &clap::Arg) -> (String, Vec<String>) {
    let long = option.get_long_help().or(option.get_help()).map(ToString::to_string);
    let long = long.unwrap_or_default();
    let mut paragraphs = long.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    let first = paragraphs.next().unwrap_or_default();
    (first, paragraphs.collect())
}

/// Returns the possible values of an option with their help; none if it takes any value.
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

/// Returns the default value of an option, if it has one.
fn option_default(option: &clap::Arg) -> Option<String> {
    let takes_values = option.get_action().takes_values();
    let default = option.get_default_values().first().filter(|_| takes_values);
    default.map(|value| value.to_string_lossy().into_owned())
}

/// Returns the name of an option's value; none if it takes no value.
fn value_name(option: &clap::Arg) -> Option<String> {
    let takes_values = option.get_action().takes_values();
    let names = option.get_value_names().filter(|_| takes_values);
    names.and_then(<[_]>::first).map(ToString::to_string)
}
