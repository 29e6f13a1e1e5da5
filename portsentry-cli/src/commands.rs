//! The commands of the program.

mod check;
mod generate;
mod protected_hosts;
mod replay;
mod respond;
mod watch;

pub(crate) use check::check;
pub(crate) use generate::generate;
pub(crate) use replay::replay;
pub(crate) use respond::respond;
pub(crate) use watch::watch;
