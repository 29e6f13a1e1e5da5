//! portsentry.conf as it is shipped: every key with its description, those that
//! have to be set with a value that does no harm.

use std::fmt::Write as _;

use portsentry_core::config::{DefaultValue, KEYS, Key, Settings};

/// Width of the comments.
const WIDTH: usize = 78;

pub(super) fn file() -> String {
    let settings = shipped();
    let mut text = String::from(INTRODUCTION);
    for key in KEYS {
        describe(&mut text, key, &settings);
    }
    text
}

/// Log only: what the built-in configuration watches, with files.
fn shipped() -> Settings {
    let mut settings = Settings::built_in();
    settings.ignore_file = Some("/etc/portsentry/portsentry.ignore".to_owned());
    settings.history_file = Some("/var/log/portsentry/portsentry.history".to_owned());
    settings.blocked_file = Some("/run/portsentry/portsentry.blocked".to_owned());
    settings
}

const INTRODUCTION: &str = "\
# Configuration of portsentry, see portsentry.conf(5).
#
# As shipped it only logs. Lines that begin with # show what holds without them.
# After a change: portsentry check, then systemctl reload portsentry.
";

fn describe(text: &mut String, key: &Key, settings: &Settings) {
    text.push('\n');
    let comment = format!("{}. {}", key.summary, key.help);
    wrap(text, comment.trim_end());
    let value = key.value(settings);
    // Writing to a string does not fail.
    let _ = match (value, key.default) {
        (Some(value), DefaultValue::Unset { .. }) => writeln!(text, "{} = \"{value}\"", key.name),
        (_, DefaultValue::Value(value)) => writeln!(text, "#{} = \"{value}\"", key.name),
        (_, DefaultValue::Unset { meaning, example, .. }) => {
            wrap(text, &format!("Unset: {meaning}. For example:"));
            writeln!(text, "#{} = \"{example}\"", key.name)
        }
        _ => Ok(()),
    };
}

/// Appends `words` as comment lines.
fn wrap(text: &mut String, words: &str) {
    let mut column = 0;
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        if column > 0 && column + 1 + word.len() <= WIDTH {
            text.push(' ');
            column += 1;
        } else {
            text.push_str(if column > 0 { "\n# " } else { "# " });
            column = 2;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_says() {
        let parsed = portsentry_core::config::parse(file().as_bytes());
        assert_eq!(parsed.diagnostics, []);
        assert_eq!(parsed.value, shipped());
    }

    #[test]
    fn each_line_that_is_commented_out_could_be_put_in() {
        let file = file();
        for key in KEYS {
            let commented = format!("#{} = \"", key.name);
            if let Some(line) = file.lines().find(|line| line.starts_with(&commented)) {
                let changed = file.replace(line, line.trim_start_matches('#'));
                assert_eq!(portsentry_core::config::parse(changed.as_bytes()).diagnostics, []);
            }
        }
    }
}
