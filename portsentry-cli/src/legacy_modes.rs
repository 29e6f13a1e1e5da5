//! The modes of portsentry 1.x on the command line, with the options that replace them.

use std::ffi::OsString;

use crate::failure::Failure;

/// Each mode with its replacement.
const OLD_MODES: [(&str, &str); 6] = [
    ("-tcp", "list TCP_PORTS in the configuration, and use --connect to bind them"),
    ("-udp", "list UDP_PORTS in the configuration, and use --connect to bind them"),
    ("-stcp", "list TCP_PORTS in the configuration; stealth is the default"),
    ("-sudp", "list UDP_PORTS in the configuration; stealth is the default"),
    ("-atcp", "write TCP_PORTS = \"1-1023\" in the configuration; served ports are left out"),
    ("-audp", "write UDP_PORTS = \"1-1023\" in the configuration; served ports are left out"),
];

/// Returns an error if a mode of portsentry 1.x is used in place of an option.
pub(crate) fn refuse(words: &[OsString]) -> Result<(), Failure> {
    let options = words.iter().skip(1).take_while(|word| *word != "--");
    for word in options {
        if let Some((mode, instead)) = OLD_MODES.iter().find(|(mode, _)| word == mode) {
            return Err(Failure::Usage(format!(
                "{mode} is a mode of portsentry 1.x. In this version, one process watches all ports: {instead}."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: Option<&str>) {
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let error = refuse(&words).err().map(|failure| failure.to_string());
        match expected {
            Some(part) => {
                assert!(error.as_ref().is_some_and(|it| it.contains(part)), "{error:?}");
            }
            None => assert_eq!(error, None),
        }
    }

    #[test]
    fn legacy_modes_are_distinguished_from_options() {
        check("portsentry -tcp", Some("-tcp is a mode of portsentry 1.x"));
        check("portsentry -d -sudp", Some("stealth is the default"));
        check("portsentry -atcp", Some("TCP_PORTS = \"1-1023\""));
        check("portsentry -audp", Some("UDP_PORTS = \"1-1023\""));
        check("portsentry -c tcp -d", None);
        check("portsentry replay -- -tcp", None);
        check("-tcp", None);
    }
}
