//! How to embed the parts of portsentry in other tools.
//!
//! - `by_hand`: the engine alone, with its inputs and outputs.
//! - `own_sensor`: a sensor outside this project, and the loop around the engine.
//! - `webhook URL FILE...`: a responder outside this project, on a separate thread.
//! - `capture_report [--json] FILE...`: sources, kinds and ports of scans in capture files.
//! - `sharded ENGINES FILE`: several engines on several threads, with one response rate.
//! - `tokio_sentry [INTERFACE...]`: live capture as a task of an async program.
//!
//! Run one with `cargo run -p portsentry-examples --example capture_report -- scan.pcap`.
//! `docs/embedding.md` explains them.
