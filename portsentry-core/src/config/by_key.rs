//! Keys by name and section, and settings by key.

use alloc::string::String;
use core::fmt;

use super::{KEYS, Key, Section, Settings, ValueKind};

impl Key {
    /// Returns the key with exactly this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

impl Section {
    /// Returns the keys of this section, in the order of the reference.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.section == self)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::blank();
        KEYS.iter().for_each(|key| key.reset(&mut settings));
        settings
    }
}

impl Settings {
    /// Calls `visit` with each path that is set and its key, in the order of [`KEYS`];
    /// for example, to make paths absolute.
    pub fn for_each_path(&mut self, mut visit: impl FnMut(&'static Key, &mut String)) {
        for key in KEYS.iter().filter(|key| key.kind == ValueKind::Path) {
            if let Some(path) = (key.field_mut)(self).text_mut() {
                visit(key, path);
            }
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in KEYS {
            if let Some(value) = key.value(self) {
                writeln!(f, "{} = \"{value}\"", key.name)?;
            }
        }
        Ok(())
    }
}
