//! Replacement for `shards` in a program that is built without the feature `rings`.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use portsentry_core::{Policy, ResponseId, TranslatedPorts};
use portsentry_respond::{Answer, Client, Hosts};

use super::sensors::SensorSettings;
use super::shard::{Shard, ShardStats};
use crate::failure::Failure;

/// Assigns every source to the only ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceHash;

impl SourceHash {
    pub(crate) fn new(_: u128) -> Self {
        Self
    }
}

/// Several packet threads, which this program cannot start.
pub(crate) enum Shards {}

impl Shards {
    pub(crate) fn new(_: Vec<Shard>, _: SourceHash) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn start(&mut self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(crate) fn watch(&mut self) {
        match *self {}
    }

    pub(crate) fn pause(&mut self) {
        match *self {}
    }

    pub(crate) fn poll_once(&mut self, _: &mut Client) -> Result<(), Failure> {
        match *self {}
    }

    pub(crate) fn is_responsive(&mut self) -> bool {
        match *self {}
    }

    pub(crate) fn set_translated(&mut self, _: &Arc<[TranslatedPorts]>) {
        match *self {}
    }

    pub(crate) fn set_policy(&mut self, _: &Policy) {
        match *self {}
    }

    pub(crate) fn set_settings(&mut self, _: SensorSettings) {
        match *self {}
    }

    pub(crate) fn restore_blocked(&self, _: Hosts) {
        match *self {}
    }

    pub(crate) fn handle_answer(&self, _: ResponseId, _: Answer) {
        match *self {}
    }

    pub(crate) fn drain_remaining(&mut self, _: &mut Client) {
        match *self {}
    }

    pub(crate) fn close(self) -> (Vec<ShardStats>, usize) {
        match self {}
    }
}
