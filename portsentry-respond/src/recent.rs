//! Keys that occurred recently.

use std::time::Duration;

use portsentry_core::Instant;

/// Time for which a key is recent.
const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of keys; the oldest is evicted first.
const MOST: usize = 64;

/// The keys that occurred in the last minute, oldest first, at most 64.
#[derive(Debug)]
pub(crate) struct Recent<K>(Vec<(K, Instant)>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Recent<K> {
    /// Adds `key`, unless it was added in the minute before `now`. Returns whether it was
    /// added.
    pub(crate) fn insert(&mut self, key: K, now: Instant) -> bool {
        self.0.retain(|(_, added)| now.since(*added) < WINDOW);
        if self.0.iter().any(|(known, _)| *known == key) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((key, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recent_for_a_minute() {
        let mut recent = Recent::default();
        assert!(recent.insert(1, Instant::from_secs(100)));
        assert!(!recent.insert(1, Instant::from_secs(159)));
        assert!(recent.insert(1, Instant::from_secs(160)));
        assert!(!recent.insert(1, Instant::from_secs(160)));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut recent = Recent::default();
        let now = Instant::from_secs(100);
        for key in 0..=MOST {
            assert!(recent.insert(key, now));
        }
        assert!(recent.insert(0, now));
        assert!(!recent.insert(MOST, now));
        assert_eq!(recent.0.len(), MOST);
    }
}
