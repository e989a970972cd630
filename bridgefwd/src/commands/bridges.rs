//! `bridgefwd bridges`

use super::{ask_or_read, output};
use crate::cli::BridgesOptions;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &BridgesOptions, instance: &Instance) -> Result<()> {
    let bridges =
        ask_or_read(instance, async |client| client.bridges().await, |pins| pins.bridges())?;
    output::answer(&bridges, options.output, |bridges, width| views::bridges::table(bridges, width))
}
