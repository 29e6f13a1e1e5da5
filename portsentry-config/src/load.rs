//! From a source to a configuration.

use std::path::Path;

use portsentry_core::NetworkSet;
use portsentry_core::config::{self, Context, LocalPorts, Parsed, Settings, Severity};
use thiserror::Error;

use crate::file::read_file;
use crate::local_ports::local_ports;
use crate::{
    Cause, Configuration, FileError, Findings, IfMissing, LocalPortSource, Origin, Overrides,
    Source, Style,
};

/// Why there is no configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration file could not be read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
    /// The configuration file, or the ignore list that it names, is not valid. The
    /// findings contain at least one error, and all warnings.
    #[error("{0}")]
    Invalid(Findings),
}

impl LoadError {
    /// Returns the error as lines for people, each with a line end.
    pub fn render(&self, style: Style) -> String {
        match self {
            Self::Unreadable(error) => format!("error: {error}\n"),
            Self::Invalid(findings) => findings.render(style),
        }
    }
}

/// Reads the configuration and the ignore list that it names, and applies `overrides`.
///
/// Relative paths, in `source` and in the file, are relative to `working_directory`,
/// which should be absolute: the directory in which the program was started, also for a
/// reload after it has left that directory.
///
/// # Errors
///
/// [`LoadError::Unreadable`] if the configuration file cannot be read, except if it does
/// not exist and `source` allows that. [`LoadError::Invalid`] with all errors of both
/// files if there is any.
pub fn load(
    source: &Source,
    overrides: Overrides,
    working_directory: &Path,
) -> Result<Configuration, LoadError> {
    load_with(source, overrides, working_directory, &mut read_file)
}

/// Like [`load`], but `read` reads the files: for a process that may not open files and
/// gets their contents from one that may.
///
/// `read` is called with absolute paths if `working_directory` is absolute, at most once
/// for each file: first for the configuration, then for the ignore list, then for
/// [`LOCAL_PORT_RANGE`](crate::LOCAL_PORT_RANGE) if `overrides` asks for it.
///
/// # Errors
///
/// Those of [`load`]; an error of `read` counts as an error of the file.
pub fn load_with(
    source: &Source,
    overrides: Overrides,
    working_directory: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<Configuration, LoadError> {
    let path = working_directory.join(&source.path);
    let file = match read(&path) {
        Err(FileError::Missing(missing)) if source.if_missing == IfMissing::BuiltIn => {
            let (settings, origin) = (Settings::built_in(), Origin::BuiltIn { missing });
            return Ok(Configuration::assemble(settings, NetworkSet::default(), overrides, origin));
        }
        file => file?,
    };
    let context = Context::default()
        .responses(source.responses)
        .rings(overrides.rings)
        .ports(overrides.ports);
    let parsed = config::parse_in(&file, context);
    let (settings, ignore, local_ports, warnings) =
        evaluate(&path, &file, parsed, overrides.local_ports, working_directory, read)?;
    let configuration = Configuration::assemble(settings, ignore, overrides, Origin::File(path));
    Ok(Configuration { local_ports, warnings, ..configuration })
}

/// Completes what was `parsed` from `file`, the content of the configuration at `path`:
/// makes paths absolute, reads the ignore list and finds the ports that `ALL` omits.
fn evaluate(
    path: &Path,
    file: &[u8],
    mut parsed: Parsed<Settings>,
    local_port_source: LocalPortSource,
    working_directory: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<(Settings, NetworkSet, LocalPorts, Findings), LoadError> {
    let mut findings = Findings::default();
    findings.extend(path, file, std::mem::take(&mut parsed.diagnostics));

    let mut report = |parsed: &Parsed<Settings>, key: &str, severity: Severity, cause: Cause| {
        // A path that is not in the file is a default, and defaults are absolute.
        if let Some(span) = parsed.span_of(key) {
            findings.push(severity, (path, file), span, cause);
        }
    };
    let relative = make_absolute(&mut parsed.value, working_directory);
    for key in &relative {
        report(&parsed, key, Severity::Error, Cause::WorkingDirectory);
    }
    let ignore_path = parsed.value.ignore_file.as_deref().map(Path::new);
    let ignore_list = ignore_path.filter(|_| !relative.contains(&"IGNORE_FILE")).and_then(|path| {
        match read(path) {
            Ok(list) => Some((path, list)),
            Err(error) => {
                report(&parsed, "IGNORE_FILE", Severity::Error, error.into());
                None
            }
        }
    });
    let (local_ports, finding) = local_ports(local_port_source, &parsed, read);
    if let Some((key, severity, cause)) = finding {
        report(&parsed, key, severity, cause);
    }
    findings.sort();

    let mut ignore = NetworkSet::default();
    if let Some((path, list)) = ignore_list {
        let parsed = config::parse_ignore_list(&list);
        findings.extend(path, &list, parsed.diagnostics);
        ignore = parsed.value;
    }
    if findings.has_errors() {
        return Err(LoadError::Invalid(findings));
    }
    Ok((parsed.value, ignore, local_ports, findings))
}

/// Makes all paths absolute. Returns the keys whose path has no absolute form in UTF-8.
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
