//! Decoding and capture files, seen from outside the crate.

mod captures;
mod decoding;
mod differential;
mod files;
mod formats;
mod frames;
mod oracle;
