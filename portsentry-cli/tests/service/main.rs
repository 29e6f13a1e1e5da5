//! The program as a service: the installed files, checked by the programs that use them.
//!
//! `generated` compares manual pages, completions and similar files with the tables of the
//! program, and runs them through man and the shells. `installed` tests `make install` and
//! the unit. The other modules run a service that reads the output of the sentry, on the host
//! of a testbed. `watch` starts the sentry there.

mod watch;

mod background;
mod documented;
mod fail2ban;
mod generated;
mod installed;
mod logrotate;
mod migrating;
mod rsyslog;
