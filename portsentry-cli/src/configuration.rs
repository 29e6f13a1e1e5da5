//! The configuration that the command line asks for.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use portsentry_config::{
    Configuration, FileError, LocalPortSource, Overrides, PortAccess, Rings, Source, Style,
    load_with, read_file,
};
use portsentry_respond::Client;

use crate::arguments::{GeneralOptions, Method, WatchOptions};
use crate::failure::Failure;

/// Loads the configuration that the options name. Relative paths are relative to `directory`.
pub(crate) fn configuration(
    options: &GeneralOptions,
    overrides: Overrides,
    directory: &Path,
) -> Result<Configuration, Failure> {
    configuration_with(options, overrides, directory, &mut read_file)
}

/// Like [`configuration`], but reads files by `read`.
fn configuration_with(
    options: &GeneralOptions,
    overrides: Overrides,
    directory: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<Configuration, Failure> {
    load_with(&source(options), overrides, directory, read)
        .map_err(|error| Failure::Configuration(error.render(style())))
}

/// Loads the configuration of a sentry with these options, and reads files by `read`.
pub(crate) fn to_watch(
    options: &WatchOptions,
    directory: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<Configuration, Failure> {
    let rings = match options.method {
        _ if options.connect => Rings::Supported,
        _ if !cfg!(feature = "rings") => Rings::NotBuilt,
        Method::Raw => Rings::Supported,
        Method::Pcap => Rings::NeedRaw,
    };
    let overrides = Overrides::default()
        .with_local_check(!options.disable_local_check)
        // In connect mode, the sockets of the sentry itself serve the ports.
        .with_service_check(!options.disable_service_check && !options.connect)
        .with_rings(rings)
        .with_ports(if options.connect { PortAccess::Bound } else { PortAccess::Captured })
        .with_local_ports(LocalPortSource::Kernel);
    configuration_with(&options.general, overrides, directory, read)
}

/// Loads the configuration of a sentry with these options from the files that the responder
/// reads, while the responder evaluates them too.
pub(crate) fn from_responder(
    options: &WatchOptions,
    directory: &Path,
    responder: &mut Client,
) -> Result<Configuration, Failure> {
    let mut lacks_file = false;
    let configuration = to_watch(options, directory, &mut |path| {
        responder.read(path).inspect_err(|_| lacks_file = true)
    });
    match configuration {
        // The responder knows why it could not read the file.
        Err(failure) if lacks_file => Err(responder.loaded().err().map_or(failure, Failure::from)),
        result => result,
    }
}

/// Returns the working directory at the start of the program.
pub(crate) fn working_directory() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(Failure::system("cannot find the working directory"))
}

fn source(options: &GeneralOptions) -> Source {
    options.configfile.clone().map_or_else(Source::default, Source::file)
}

/// Prints the warnings about the configuration.
pub(crate) fn show_warnings(configuration: &Configuration) {
    // Without standard error there is no place to report the failure.
    let _ = io::stderr().write_all(configuration.warnings.render(style()).as_bytes());
}

/// Colours for people, plain text for files; `NO_COLOR` turns colours off.
fn style() -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && io::stderr().is_terminal() { Style::Coloured } else { Style::Plain }
}
