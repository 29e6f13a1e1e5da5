//! What the fuzz targets hold the library against.
//!
//! [`replay`] tells any bytes to the engine as a [`Script`], and to a model of
//! the contract that knows no hash and no index: lists, walked from one end to
//! the other. [`check_configuration`] and [`check_ignore_list`] read any bytes as
//! a file, [`check_template`] any text as a command. All panic where something
//! does not hold.

mod comparison;
mod files;
mod model;
mod responses;
mod script;
mod template;

pub use comparison::replay;
pub use files::{check_configuration, check_ignore_list};
pub use script::{Operation, Rules, Script};
pub use template::check_template;
