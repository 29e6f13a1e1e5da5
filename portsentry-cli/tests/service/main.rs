//! The program as a service: what is installed beside it, checked by the
//! programs that will use it.
//!
//! `generated` holds manual pages, completions and the like against the tables
//! of the program, and shows them to man and the shells.

mod generated;
mod installed;
