//! The configuration file.

use alloc::vec::Vec;

use super::assignments::{Assignment, Assignments};
use super::cross_check::cross_check;
use super::diagnostic::Report;
use super::encoding::{is_text, is_utf16};
use super::legacy_keys::legacy_key;
use super::span::{Line, lines};
use super::statement::{Statement, read_statement};
use super::{Diagnostic, Excerpt, Key, Problem, Settings, Severity, Span};

/// What was read from a file, and what was found wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What could be read. To be used only if there is no error.
    pub value: T,
    /// What was found, from the first line to the last.
    pub diagnostics: Vec<Diagnostic>,
    places: Vec<(&'static str, Span)>,
}

impl<T> Parsed<T> {
    pub(super) fn new(value: T, report: Report) -> Self {
        Self { value, diagnostics: report.finish(), places: Vec::new() }
    }

    /// Whether nothing worse than a warning was found.
    pub fn is_valid(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity < Severity::Error)
    }
}

impl Parsed<Settings> {
    /// Where the file sets the value that counts for the key `name`, the quotes
    /// left out; `None` if it does not.
    pub fn span_of(&self, name: &str) -> Option<Span> {
        self.places.iter().find(|(key, _)| *key == name).map(|(_, place)| *place)
    }
}

/// Reads a configuration file.
///
/// Linear in the size of the file. At most 1000 errors and 1000 warnings are
/// kept; behind them stands how many more there are.
pub fn parse(file: &[u8]) -> Parsed<Settings> {
    let mut report = Report::default();
    let mut settings = Settings::default();
    if is_utf16(file) {
        report.error_at(Span::start_of(1), Problem::Utf16);
        return Parsed::new(settings, report);
    }
    let mut assignments = Assignments::default();
    let mut last_line = 1;
    for line in lines(file) {
        last_line = line.number();
        read_line(&line, &mut settings, &mut assignments, &mut report);
    }
    cross_check(&settings, &assignments, Span::start_of(last_line), &mut report);
    Parsed { places: assignments.places().collect(), ..Parsed::new(settings, report) }
}

fn read_line(
    line: &Line<'_>,
    settings: &mut Settings,
    assignments: &mut Assignments,
    report: &mut Report,
) {
    let errors = report.errors();
    let is_text = is_text(line, report);
    // What is wrong with the rest of an unreadable line tells nobody anything,
    // but which key it was about matters to the checks of keys against keys.
    let mut unheard = Report::default();
    let grammar_report = if is_text { &mut *report } else { &mut unheard };
    let Some(Statement { key: name, value }) = read_statement(line, grammar_report) else {
        return;
    };
    let Some(key) = Key::find(name.text()) else {
        if is_text {
            let problem = legacy_key(name.text());
            report.error(name, problem.unwrap_or(Problem::UnknownKey(Excerpt::of(name.text()))));
        }
        return;
    };
    if let Some(earlier) = assignments.find(key.name) {
        let earlier = earlier.line;
        report.warning(name, Problem::RepeatedKey { key: key.name, earlier });
    }
    let value = value.filter(|_| is_text);
    if let Some(value) = value {
        key.read(settings, value, report);
    }
    assignments.put(Assignment {
        name: key.name,
        line: line.number(),
        value: value.unwrap_or(name).span(),
        is_usable: report.errors() == errors,
    });
}
