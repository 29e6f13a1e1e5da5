//! Configurations as files: which are refused, with which message at which place,
//! which are accepted, and how findings are shown.

mod loading;
mod malformed;
mod policy;
mod program;
mod rendering;

use std::fs;
use std::path::{Path, PathBuf};

use portsentry_config::{Configuration, Findings, LoadError, Overrides, Source, load};
use tempfile::TempDir;

/// A temporary directory, as the working directory of a program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, name: &str) -> Result<Configuration, LoadError> {
        load(&Source::file(name), Overrides::default(), self.path())
    }

    /// Returns the findings of a configuration that must be refused.
    fn refused(&self, name: &str) -> Findings {
        match self.load(name) {
            Err(LoadError::Invalid(findings)) => {
                assert!(findings.has_errors());
                findings
            }
            other => panic!("not refused for its text: {other:?}"),
        }
    }
}

/// Asserts that a refused file has an error at `place` (`line:column`) of the
/// file `name` with `message`.
fn assert_error_at(case: &str, findings: &Findings, name: &str, place: &str, message: &str) {
    let text = findings.to_string();
    let has_it = text.lines().any(|line| {
        line.split_once(&format!("{name}:{place}: error: "))
            .is_some_and(|(_, found)| found.contains(message))
    });
    assert!(has_it, "{case}: no error at {place} that contains `{message}` in\n{text}");
}
