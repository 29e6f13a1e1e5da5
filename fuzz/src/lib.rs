//! References that the fuzz targets compare the library with.
//!
//! [`replay`] applies any bytes, read as a [`Script`], to the engine and to a model of the
//! contract. The model has no hash and no index: it searches lists from one end to the
//! other. [`check_configuration`] and [`check_ignore_list`] parse any bytes as a file,
//! [`check_template`] expands any text as a command. Each of them panics at a difference.

mod comparison;
mod files;
mod model;
mod responses;
mod script;
mod served;
mod template;

pub use comparison::replay;
pub use files::{check_configuration, check_ignore_list};
pub use script::{Operation, Rules, Script};
pub use template::check_template;
