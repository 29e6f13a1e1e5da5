//! How to embed the parts of portsentry in other tools.
//!
//! - `by_hand`: the engine alone, and all that goes in and comes out.
//! - `own_sensor`: a sensor of one's own, and the loop around the engine.
//! - `webhook URL FILE...`: a responder of one's own, on a thread of its own.
//! - `capture_report [--json] FILE...`: who scanned whom in capture files.
//! - `tokio_sentry [INTERFACE...]`: live capture as a task of an async program.
//!
//! Run one with `cargo run -p portsentry-examples --example capture_report -- scan.pcap`.
//! `docs/embedding.md` walks through them.
