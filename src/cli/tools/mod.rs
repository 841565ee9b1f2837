//! The commands that show and measure: `demo`, `bench` and `sim`, and what they share. The daily
//! commands use none of this.

pub(crate) mod bench;
mod children;
pub(crate) mod demo;
mod figures;
mod plot;
mod process;
pub(crate) mod sim;
