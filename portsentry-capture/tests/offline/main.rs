//! Decoding and capture files, seen from outside the crate.

mod captures;
mod checksums;
mod decoding;
mod differential;
mod files;
mod formats;
mod fragments;
mod frames;
mod model;
mod oracle;
mod properties;
mod reassembly;
