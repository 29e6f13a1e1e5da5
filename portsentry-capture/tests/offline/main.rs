//! Decoding and capture files, through the public interface of the crate.

mod captures;
mod checksums;
mod decoding;
mod differential;
mod files;
mod formats;
mod fragments;
mod frames;
mod full_memory;
mod model;
mod oracle;
mod properties;
mod reassembly;
