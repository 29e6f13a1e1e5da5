//! What was found wrong in a file, and where.

use alloc::vec::Vec;
use core::fmt;

use super::span::Fragment;
use super::{Problem, Span};

/// One thing found wrong, or worth a warning, in a file.
///
/// `Display` gives `line:column: error: message`; the message is safe to show
/// on a terminal whatever the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can be used nevertheless.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What.
    pub problem: Problem,
}

/// Whether a file with such a finding can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It can, though what was meant may be something else.
    Warning,
    /// It cannot.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, span, problem } = self;
        write!(f, "{}:{}: {severity}: {problem}", span.line, span.column)
    }
}

/// The errors, and likewise the warnings, that are kept of one file. What is
/// above is counted: a file that is not a configuration at all would otherwise
/// cost many times its size.
pub(super) const KEPT: usize = 1000;

/// The findings of one file while it is read.
#[derive(Default)]
pub(super) struct Report {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Report {
    pub(super) fn error(&mut self, place: Fragment<'_>, problem: Problem) {
        self.errors += 1;
        if self.errors <= KEPT {
            self.keep(Severity::Error, place.span(), problem);
        }
    }

    /// An error at a place that is known by its numbers alone.
    pub(super) fn error_at(&mut self, span: Span, problem: Problem) {
        self.errors += 1;
        if self.errors <= KEPT {
            self.keep(Severity::Error, span, problem);
        }
    }

    pub(super) fn warning(&mut self, place: Fragment<'_>, problem: Problem) {
        self.warnings += 1;
        if self.warnings <= KEPT {
            self.keep(Severity::Warning, place.span(), problem);
        }
    }

    /// The errors so far, those not kept among them.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    fn keep(&mut self, severity: Severity, span: Span, problem: Problem) {
        self.diagnostics.push(Diagnostic { severity, span, problem });
    }

    /// The findings from the first line to the last; behind them, how many more
    /// there are.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let Self { mut diagnostics, errors, warnings } = self;
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.line, diagnostic.span.column));
        let (errors, warnings) = (errors.saturating_sub(KEPT), warnings.saturating_sub(KEPT));
        if errors + warnings > 0 {
            let severity = if errors > 0 { Severity::Error } else { Severity::Warning };
            let span = diagnostics.last().map_or(Span::start_of(1), |last| last.span);
            diagnostics.push(Diagnostic {
                severity,
                span,
                problem: Problem::More { errors, warnings },
            });
        }
        diagnostics
    }
}
