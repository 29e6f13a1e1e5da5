//! Log lines about interfaces that are not watched, without repetition.

use std::collections::BTreeMap;

use crate::SensorError;

/// The last reason logged for each interface.
#[derive(Debug, Default)]
pub(super) struct OpenLog {
    reasons: BTreeMap<String, String>,
}

impl OpenLog {
    /// Logs why `interface` is not watched, unless that was the last line about it.
    pub(super) fn failed(&mut self, interface: String, error: &SensorError) {
        let reason = error.to_string();
        if self.reasons.get(&interface) != Some(&reason) {
            log::warn!("not watching an interface: {reason}");
            self.reasons.insert(interface, reason);
        }
    }

    /// Forgets the reason, because the interface is watched now.
    pub(super) fn opened(&mut self, interface: &str) {
        self.reasons.remove(interface);
    }
}
