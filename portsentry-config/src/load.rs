//! From what was asked for on the command line to what holds.

use std::path::{Path, PathBuf};

use portsentry_core::Networks;
use portsentry_core::config::{self, Parsed, Settings};
use thiserror::Error;

use crate::file::read_file;
use crate::{Cause, FileError, Findings, Style};

/// Where the configuration stands if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/portsentry/portsentry.conf";

/// Where to look for the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this file, which must be there.
    File(PathBuf),
    /// In this file if it is there, else [`Settings::built_in`].
    FileOrBuiltIn(PathBuf),
}

impl Default for Source {
    /// [`DEFAULT_PATH`], or the built-in settings.
    fn default() -> Self {
        Self::FileOrBuiltIn(DEFAULT_PATH.into())
    }
}

/// What the command line says beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrides {
    /// Whether probes of this host by itself are let be; not with `-L`.
    pub local_check: bool,
    /// Whether ports that a local program serves are let be; not with `-S`.
    pub service_check: bool,
}

impl Default for Overrides {
    fn default() -> Self {
        Self { local_check: true, service_check: true }
    }
}

/// The configuration that holds.
#[derive(Debug)]
pub struct Configuration {
    /// The keys of the file; every path is absolute.
    pub settings: Settings,
    /// Who is ignored.
    pub ignore: Networks,
    /// Whether probes of this host by itself are let be.
    pub local_check: bool,
    /// Whether ports that a local program serves are let be.
    pub service_check: bool,
    /// Where the settings come from.
    pub origin: Origin,
    /// What was found and is no error.
    pub warnings: Findings,
}

/// Where settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This file, by its absolute path.
    File(PathBuf),
    /// [`Settings::built_in`], because there is no such file.
    BuiltIn {
        /// The absolute path that was looked for.
        missing: PathBuf,
    },
}

/// Why there is no configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration file could not be read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
    /// It, or the ignore list it names, cannot be used. The findings hold at
    /// least one error, and the warnings besides.
    #[error("{0}")]
    Invalid(Findings),
}

impl LoadError {
    /// The error as lines for people, each line with its end.
    pub fn render(&self, style: Style) -> String {
        match self {
            Self::Unreadable(error) => format!("error: {error}\n"),
            Self::Invalid(findings) => findings.render(style),
        }
    }
}

/// Reads the configuration and the ignore list that it names, and lays
/// `overrides` over them.
///
/// Relative paths, in `source` and in the file, are relative to
/// `working_directory`, which should be absolute: the directory that the program
/// was started in, also for a reload after it has left it.
///
/// # Errors
///
/// [`LoadError::Unreadable`] if the configuration file cannot be read, unless it
/// is merely missing and `source` allows for that. [`LoadError::Invalid`] with
/// all errors of both files if there is any.
pub fn load(
    source: &Source,
    overrides: Overrides,
    working_directory: &Path,
) -> Result<Configuration, LoadError> {
    load_with(source, overrides, working_directory, &mut read_file)
}

/// Like [`load`], with every file read by `read`: for a process that may not open
/// files and is given their bytes by one that may.
///
/// `read` is called with absolute paths if `working_directory` is one, at most
/// once for each file: first for the configuration, then for the ignore list.
///
/// # Errors
///
/// Those of [`load`]; an error of `read` counts as that of the file.
pub fn load_with(
    source: &Source,
    overrides: Overrides,
    working_directory: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<Configuration, LoadError> {
    let (Source::File(path) | Source::FileOrBuiltIn(path)) = source;
    let path = working_directory.join(path);
    let (settings, ignore, origin, warnings) = match (read(&path), source) {
        (Err(FileError::Missing(missing)), Source::FileOrBuiltIn(_)) => (
            Settings::built_in(),
            Networks::default(),
            Origin::BuiltIn { missing },
            Findings::default(),
        ),
        (file, _) => {
            let (settings, ignore, warnings) = evaluate(&path, &file?, working_directory, read)?;
            (settings, ignore, Origin::File(path), warnings)
        }
    };
    let Overrides { local_check, service_check } = overrides;
    Ok(Configuration { settings, ignore, local_check, service_check, origin, warnings })
}

/// What `file`, the text of the configuration at `path`, amounts to.
fn evaluate(
    path: &Path,
    file: &[u8],
    working_directory: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<(Settings, Networks, Findings), LoadError> {
    let mut parsed = config::parse(file);
    let mut findings = Findings::default();
    findings.extend(path, file, std::mem::take(&mut parsed.diagnostics));

    let mut fail = |parsed: &Parsed<Settings>, key: &str, cause: Cause| {
        // A path that is not in the file is a default, and those are absolute.
        if let Some(span) = parsed.span_of(key) {
            findings.push_error(path, file, span, cause);
        }
    };
    let relative = make_absolute(&mut parsed.value, working_directory);
    for key in &relative {
        fail(&parsed, key, Cause::WorkingDirectory);
    }
    let ignore_path = parsed.value.ignore_file.as_deref().map(Path::new);
    let ignore_list = ignore_path.filter(|_| !relative.contains(&"IGNORE_FILE")).and_then(|path| {
        match read(path) {
            Ok(list) => Some((path, list)),
            Err(error) => {
                fail(&parsed, "IGNORE_FILE", error.into());
                None
            }
        }
    });
    findings.sort();

    let mut ignore = Networks::default();
    if let Some((path, list)) = ignore_list {
        let parsed = config::parse_ignore_list(&list);
        findings.extend(path, &list, parsed.diagnostics);
        ignore = parsed.value;
    }
    if findings.has_errors() {
        return Err(LoadError::Invalid(findings));
    }
    Ok((parsed.value, ignore, findings))
}

/// Makes every path absolute; gives the keys of those that could not be.
fn make_absolute(settings: &mut Settings, working_directory: &Path) -> Vec<&'static str> {
    let mut failed = Vec::new();
    settings.for_each_path(|key, path| {
        match working_directory.join(&*path).into_os_string().into_string() {
            Ok(absolute) => *path = absolute,
            Err(_) => failed.push(key.name),
        }
    });
    failed
}
