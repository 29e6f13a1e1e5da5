//! Translated ports, compared with the kernel's treatment of real packets. Each test creates its
//! own network namespaces.

mod cases;
mod dump;
mod kernel;
mod live;
