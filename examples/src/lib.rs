//! How to embed the parts of portsentry in other tools.
//!
//! - `capture_report FILE...`: who scanned whom in capture files, as a table.
//! - `own_sensor`: a sensor of one's own, and the loop around the engine.
//!
//! Run one with `cargo run -p portsentry-examples --example capture_report -- scan.pcap`.
