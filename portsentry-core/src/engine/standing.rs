//! What is remembered of a source beside its counter.
//!
//! A scanner sends more than one probe. That it is not on the ignore list, and whether
//! it is in the blocked set, has to be looked up for the first of them only: the answers
//! are noted in the slot of its counter, which is read for each probe anyway. A source
//! without a counter has no note and is looked up as if it were new; one that is ignored
//! is not counted and never has one.

use crate::counter_table::CounterTable;

/// What is known of a source: a flag for each answer, and whether it is noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing(u8);

impl Standing {
    const NOT_IGNORED: u8 = 1;
    const IGNORED: u8 = 1 << 1;
    const NOT_BLOCKED: u8 = 1 << 2;
    const BLOCKED: u8 = 1 << 3;
    const NOTED: u8 = 1 << 4;

    /// Whether the source is on the ignore list, if that is known.
    pub(super) const fn ignored(self) -> Option<bool> {
        self.answer(Self::IGNORED, Self::NOT_IGNORED)
    }

    /// Whether the source is in the blocked set, if that is known.
    pub(super) const fn blocked(self) -> Option<bool> {
        self.answer(Self::BLOCKED, Self::NOT_BLOCKED)
    }

    /// Whether that is what the note says, so that there is nothing to write.
    pub(super) const fn is_noted(self) -> bool {
        self.0 & Self::NOTED != 0
    }

    /// The same, and whether the source is on the ignore list.
    pub(super) const fn with_ignored(self, ignored: bool) -> Self {
        Self(self.0 | if ignored { Self::IGNORED } else { Self::NOT_IGNORED })
    }

    /// The same, and whether the source is on the ignore list where that is not known.
    pub(super) const fn or_ignored(self, ignored: bool) -> Self {
        // Both answers are ready: nothing has to be guessed.
        let (known, told) =
            (self.0 & (Self::IGNORED | Self::NOT_IGNORED), self.with_ignored(ignored));
        if known == 0 { told } else { self }
    }

    /// The same, and whether the source is in the blocked set.
    pub(super) const fn with_blocked(self, blocked: bool) -> Self {
        Self(self.0 | if blocked { Self::BLOCKED } else { Self::NOT_BLOCKED })
    }

    const fn answer(self, yes: u8, no: u8) -> Option<bool> {
        if self.0 & (yes | no) == 0 { None } else { Some(self.0 & yes != 0) }
    }
}

/// Bits of a note for the standing. Above them is the edition.
const STANDING_BITS: u32 = 5;

/// The last edition that finds room in a note.
const LAST_EDITION: u16 = u16::MAX >> STANDING_BITS;

/// Reads and writes notes, which hold for one edition of the rules.
#[derive(Debug)]
pub(super) struct Standings {
    /// From 1, so that 0, the note of a new counter, is of no edition.
    edition: u16,
}

impl Standings {
    pub(super) const fn new() -> Self {
        Self { edition: 1 }
    }

    /// What is noted of the source whose counter has this hash.
    pub(super) fn of(&self, hash: u64, counters: &CounterTable) -> Standing {
        let note = counters.note(hash);
        let is_current = note >> STANDING_BITS == self.edition;
        Standing(if is_current { note as u8 & ((1 << STANDING_BITS) - 1) } else { 0 })
    }

    /// Notes what is known of a source, if it has a counter.
    pub(super) fn note(&self, standing: Standing, hash: u64, counters: &mut CounterTable) {
        let bits = u16::from(standing.0 | Standing::NOTED);
        counters.set_note(hash, self.edition << STANDING_BITS | bits);
    }

    /// Forgets what is known of this source.
    pub(super) fn forget(&self, hash: u64, counters: &mut CounterTable) {
        counters.set_note(hash, 0);
    }

    /// Forgets what is known of every source. Takes no time but once in 2,047 times, when
    /// all counters are gone through.
    pub(super) fn forget_all(&mut self, counters: &mut CounterTable) {
        if self.edition == LAST_EDITION {
            counters.clear_notes();
            self.edition = 0;
        }
        self.edition += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_table::Clock;
    use crate::{HashKey, Instant};

    #[test]
    fn a_note_holds_until_all_are_forgotten() {
        let mut counters = CounterTable::new(64, None, HashKey::new(1));
        let mut standings = Standings::new();
        let [known, other] = [1, 2].map(|address| counters.hash(address, 0));
        // Editions begin anew twice, and none of an old round comes to life.
        for round in 0..=2 * u32::from(LAST_EDITION) {
            assert_eq!(standings.of(known, &counters), Standing::default(), "round {round}");
            counters.bump(known, Instant::default(), Clock::LastUpdate);
            for blocked in [false, true] {
                let standing = Standing::default().with_ignored(false).with_blocked(blocked);
                standings.note(standing, known, &mut counters);
                let noted = standings.of(known, &counters);
                let told = (noted.ignored(), noted.blocked(), noted.is_noted());
                assert_eq!(told, (Some(false), Some(blocked), true), "round {round}");
            }
            // Who has no counter has no note.
            standings.note(Standing::default(), other, &mut counters);
            assert_eq!(standings.of(other, &counters), Standing::default());
            standings.forget_all(&mut counters);
        }
    }

    #[test]
    fn one_source_is_forgotten_alone() {
        let mut counters = CounterTable::new(64, None, HashKey::new(1));
        let standings = Standings::new();
        let hashes = [1, 2].map(|address| counters.hash(address, 0));
        for hash in hashes {
            counters.bump(hash, Instant::default(), Clock::LastUpdate);
            standings.note(Standing::default().with_ignored(false), hash, &mut counters);
        }
        standings.forget(hashes[0], &mut counters);
        let told = hashes.map(|hash| standings.of(hash, &counters).ignored());
        assert_eq!(told, [None, Some(false)]);
        // The counters are what they were.
        let counts = hashes.map(|it| counters.bump(it, Instant::default(), Clock::LastUpdate));
        assert_eq!(counts, [2, 2]);
    }
}
