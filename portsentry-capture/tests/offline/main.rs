//! Decoding, seen from outside the crate.

mod decoding;
mod differential;
mod frames;
