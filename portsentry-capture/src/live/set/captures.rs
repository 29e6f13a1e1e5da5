//! The open captures of a set, each with its token in the set of events.

use std::io;

use crate::live::LiveSensor;
use crate::live::plan::Identity;
use crate::reactor::{EventSet, Watch};

/// An open capture.
pub(super) struct Capture {
    /// Number of the capture, never reused.
    pub(super) token: u64,
    pub(super) identity: Identity,
    pub(super) sensor: Box<dyn LiveSensor + Send>,
}

/// All open captures.
pub(super) struct Captures {
    /// Sorted by token.
    open: Vec<Capture>,
    next_token: u64,
}

impl Captures {
    /// Creates an empty list. The first capture gets `first_token`, and so on.
    pub(super) fn new(first_token: u64) -> Self {
        Self { open: Vec::new(), next_token: first_token }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Capture> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Capture> {
        self.open.iter_mut()
    }

    /// Returns what identifies the interfaces, in the order of the captures.
    pub(super) fn identities(&self) -> Vec<Identity> {
        self.open.iter().map(|capture| capture.identity.clone()).collect()
    }

    /// Adds a capture, and its descriptor to `events`.
    pub(super) fn add(
        &mut self,
        identity: Identity,
        sensor: Box<dyn LiveSensor + Send>,
        events: &EventSet,
    ) -> io::Result<()> {
        let token = self.next_token;
        self.next_token += 1;
        if let Some(descriptor) = sensor.descriptor() {
            events.add(descriptor, token, Watch::In)?;
        }
        self.open.push(Capture { token, identity, sensor });
        Ok(())
    }

    pub(super) fn get_mut(&mut self, token: u64) -> Option<&mut Capture> {
        let position = self.position(token)?;
        self.open.get_mut(position)
    }

    /// Removes the capture with this token, without closing it.
    pub(super) fn remove(&mut self, token: u64) -> Option<Capture> {
        self.position(token).map(|position| self.open.remove(position))
    }

    /// Removes the capture at `position`, which must be below [`len`](Self::len).
    pub(super) fn remove_at(&mut self, position: usize) -> Capture {
        self.open.remove(position)
    }

    fn position(&self, token: u64) -> Option<usize> {
        self.open.binary_search_by_key(&token, |capture| capture.token).ok()
    }
}
