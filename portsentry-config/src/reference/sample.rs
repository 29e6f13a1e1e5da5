//! The shipped portsentry.conf: all keys with their descriptions. It sets only keys that
//! log.

use std::fmt::Write as _;

use portsentry_core::config::{DefaultValue, Key, Section, Settings};

/// Width of the comments.
const WIDTH: usize = 78;

pub(super) fn file() -> String {
    let settings = shipped();
    let mut text = String::from(INTRODUCTION);
    for section in Section::ALL {
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n# ---- {section} ----");
        section.keys().for_each(|key| describe(&mut text, key, &settings));
    }
    text
}

/// Returns the settings of the file: log only, with the ports of the built-in configuration.
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
# The shipped file only logs. Keys after # show their defaults, or an example.
# After a change: portsentry check, then systemctl reload portsentry.
# A duration is a number with the unit s, min, h or d, or a number of seconds.
";

fn describe(text: &mut String, key: &Key, settings: &Settings) {
    text.push('\n');
    let note = key.reload.note().unwrap_or_default();
    wrap(text, &format!("{}. {} {note}", key.summary, key.help));
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

/// Appends `words` as lines of comments.
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
    fn it_contains_the_shipped_settings() {
        let parsed = portsentry_core::config::parse(file().as_bytes());
        assert_eq!(parsed.diagnostics, []);
        assert_eq!(parsed.value, shipped());
    }

    #[test]
    fn each_commented_key_is_valid() {
        let file = file();
        for key in portsentry_core::config::KEYS {
            let commented = format!("#{} = \"", key.name);
            if let Some(line) = file.lines().find(|line| line.starts_with(&commented)) {
                let changed = file.replace(line, line.trim_start_matches('#'));
                assert_eq!(portsentry_core::config::parse(changed.as_bytes()).diagnostics, []);
            }
        }
    }
}
