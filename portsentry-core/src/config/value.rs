//! Values of keys: from text to the type of the field, and back.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

use ipnet::IpNet;

use super::diagnostic::Report;
use super::duration::read_duration;
use super::network::read_networks;
use super::ports::read_port_list;
use super::span::Fragment;
use super::{BlockMode, Excerpt, PortList, Problem, Template, ValueKind};

/// The type of a field of [`Settings`](super::Settings).
pub(super) trait Value {
    /// Sets the value from `text`, or reports why that is not possible. `kind` contains
    /// the rules that the type alone does not give.
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report);

    /// Returns the text that [`read`](Self::read) turns into this value; `None` if it is
    /// unset.
    fn write(&self) -> Option<String>;

    /// Makes it unset or empty.
    fn clear(&mut self);

    /// Returns the text itself, for fields that contain text and are set.
    fn text_mut(&mut self) -> Option<&mut String> {
        None
    }
}

impl Value for PortList {
    fn read(&mut self, text: Fragment<'_>, _: ValueKind, report: &mut Report) {
        *self = read_port_list(text, report);
    }

    fn write(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Value for Option<Vec<IpNet>> {
    fn read(&mut self, text: Fragment<'_>, _: ValueKind, report: &mut Report) {
        *self = Some(read_networks(text, report));
    }

    fn write(&self) -> Option<String> {
        let mut text = String::new();
        let mut separator = "";
        for network in self.as_deref()? {
            // Writing to a string does not fail.
            let _ = write!(text, "{separator}{network}");
            separator = ", ";
        }
        Some(text)
    }

    fn clear(&mut self) {
        *self = None;
    }
}

impl Value for bool {
    fn read(&mut self, text: Fragment<'_>, _: ValueKind, report: &mut Report) {
        match text.text() {
            "0" => *self = false,
            "1" => *self = true,
            other => report.error(text, Problem::NotASwitch(Excerpt::of(other))),
        }
    }

    fn write(&self) -> Option<String> {
        Some(u8::from(*self).to_string())
    }

    fn clear(&mut self) {
        *self = false;
    }
}

impl Value for BlockMode {
    fn read(&mut self, text: Fragment<'_>, _: ValueKind, report: &mut Report) {
        match text.text() {
            "0" => *self = Self::Log,
            "1" => *self = Self::Block,
            "2" => *self = Self::Command,
            other => report.error(text, Problem::NotABlockMode(Excerpt::of(other))),
        }
    }

    fn write(&self) -> Option<String> {
        let digit = match self {
            Self::Log => "0",
            Self::Block => "1",
            Self::Command => "2",
        };
        Some(digit.into())
    }

    fn clear(&mut self) {
        *self = Self::Log;
    }
}

impl Value for Option<Template> {
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report) {
        let template = Template::parse(text.text());
        for (offset, name) in template.unknown_placeholders() {
            let rest = text.split_at(offset).map(|(_, rest)| rest);
            if let Some((placeholder, _)) = rest.and_then(|rest| rest.split_at(name.len())) {
                report.warning(placeholder, Problem::UnknownPlaceholder(Excerpt::of(name)));
            }
        }
        let needs_target =
            matches!(kind, ValueKind::HostsDenyLine | ValueKind::Command { needs_target: true });
        if needs_target && !template.mentions_target() {
            report.error(text, Problem::MissingTarget);
        } else {
            *self = Some(template);
        }
    }

    fn write(&self) -> Option<String> {
        self.as_ref().map(|template| template.as_str().into())
    }

    fn clear(&mut self) {
        *self = None;
    }
}

impl Value for Option<String> {
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report) {
        if kind == ValueKind::User && !is_user(text.text()) {
            report.error(text, Problem::NotAUser(Excerpt::of(text.text())));
        } else {
            *self = Some(text.text().into());
        }
    }

    fn write(&self) -> Option<String> {
        self.clone()
    }

    fn clear(&mut self) {
        *self = None;
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        self.as_mut()
    }
}

/// Returns the names that useradd(8) creates, and those with capitals and dots; or digits.
fn is_user(name: &str) -> bool {
    name.len() <= 32
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

impl Value for String {
    fn read(&mut self, text: Fragment<'_>, _: ValueKind, _: &mut Report) {
        *self = text.text().into();
    }

    fn write(&self) -> Option<String> {
        Some(self.clone())
    }

    fn clear(&mut self) {
        *self = Self::new();
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        Some(self)
    }
}

impl Value for u16 {
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report) {
        let number = read_number(text, kind, report);
        if let Some(number) = number.and_then(|number| Self::try_from(number).ok()) {
            *self = number;
        }
    }

    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn clear(&mut self) {
        *self = 0;
    }
}

impl Value for u32 {
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report) {
        if let Some(number) = read_number(text, kind, report) {
            *self = number;
        }
    }

    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn clear(&mut self) {
        *self = 0;
    }
}

impl Value for Option<u32> {
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report) {
        *self = read_number(text, kind, report);
    }

    fn write(&self) -> Option<String> {
        self.map(|number| number.to_string())
    }

    fn clear(&mut self) {
        *self = None;
    }
}

/// Written as a bare number of seconds, so that scripts can read the value of a key
/// without knowing units.
impl Value for Duration {
    fn read(&mut self, text: Fragment<'_>, kind: ValueKind, report: &mut Report) {
        let (min, max) = match kind {
            ValueKind::Duration { min, max } => (min, max),
            _ => (Self::ZERO, Self::MAX),
        };
        if let Some(duration) = read_duration(text, min, max, report) {
            *self = duration;
        }
    }

    fn write(&self) -> Option<String> {
        Some(self.as_secs().to_string())
    }

    fn clear(&mut self) {
        *self = Self::ZERO;
    }
}

fn read_number(text: Fragment<'_>, kind: ValueKind, report: &mut Report) -> Option<u32> {
    let (min, max, unit) = match kind {
        ValueKind::Number { min, max, unit } => (min, max, unit),
        _ => (0, u32::MAX, ""),
    };
    let number = Excerpt::of(text.text());
    if !text.text().bytes().all(|byte| byte.is_ascii_digit()) {
        report.error(text, Problem::NotANumber(number));
        return None;
    }
    // Digits can only fail to parse because there are too many.
    let found = text.text().parse().ok().filter(|number| (min..=max).contains(number));
    if found.is_none() {
        report.error(text, Problem::OutOfRange { number, min, max, unit });
    }
    found
}
