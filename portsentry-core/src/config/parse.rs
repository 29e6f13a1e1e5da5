//! The configuration file.

use alloc::vec::Vec;

use super::assignments::{Assignment, Assignments};
use super::cross_check::cross_check;
use super::diagnostic::Report;
use super::encoding::{is_text, is_utf16};
use super::legacy_keys::legacy_key;
use super::span::{Line, lines};
use super::statement::{Statement, read_statement};
use super::{Context, Diagnostic, Excerpt, Key, Problem, Settings, Severity, Span};

/// The value that a file contains, and the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parsed<T> {
    /// The parts that could be read. Use it only if there is no error.
    pub value: T,
    /// The findings, from the first line to the last.
    pub diagnostics: Vec<Diagnostic>,
    spans: Vec<(&'static str, Span)>,
}

impl<T> Parsed<T> {
    pub(super) fn new(value: T, report: Report) -> Self {
        Self { value, diagnostics: report.finish(), spans: Vec::new() }
    }

    /// Returns whether all findings are warnings.
    pub fn is_valid(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity < Severity::Error)
    }
}

impl Parsed<Settings> {
    /// Returns the place of the value of the key `name`, without the quotes; `None` if the
    /// file does not set the key. If several lines set it, the last one counts.
    pub fn span_of(&self, name: &str) -> Option<Span> {
        self.spans.iter().find(|(key, _)| *key == name).map(|(_, span)| *span)
    }
}

/// Reads a configuration file, for the default [`Context`].
///
/// Linear in the size of the file. At most 1000 errors and 1000 warnings are kept; a
/// last finding gives the number of the others.
pub fn parse(file: &[u8]) -> Parsed<Settings> {
    parse_in(file, Context::default())
}

/// Like [`parse`], for a program with the properties in `context`.
pub fn parse_in(file: &[u8], context: Context) -> Parsed<Settings> {
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
    cross_check(&settings, &assignments, context, Span::start_of(last_line), &mut report);
    Parsed { spans: assignments.spans().collect(), ..Parsed::new(settings, report) }
}

fn read_line(
    line: &Line<'_>,
    settings: &mut Settings,
    assignments: &mut Assignments,
    report: &mut Report,
) {
    let errors = report.errors();
    let is_text = is_text(line, report);
    // Further errors of a line that is not text are of no use, but checks across keys
    // need to know its key.
    let mut discarded = Report::default();
    let grammar_report = if is_text { &mut *report } else { &mut discarded };
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
        is_valid: report.errors() == errors,
    });
}
