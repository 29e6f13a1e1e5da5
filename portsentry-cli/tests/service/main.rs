//! The program as a service: what is installed beside it, checked by the
//! programs that will use it.
//!
//! `generated` holds manual pages, completions and the like against the tables
//! of the program, and shows them to man and the shells; `installed` looks at
//! `make install` and the unit. The others run a service that reads what the
//! sentry writes, on the host of a testbed; `watch` starts the sentry there.

mod watch;

mod background;
mod documented;
mod fail2ban;
mod generated;
mod installed;
mod logrotate;
mod migrating;
mod rsyslog;
