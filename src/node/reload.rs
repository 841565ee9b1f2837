//! Reading the options again: the host reads and checks them, the disk opens the shares, and only
//! then anything changes. If something is wrong, nothing changes.

use super::driver::Driver;
use super::host::Reload;
use crate::error::Failure;
use crate::proto::Input;

impl Driver<'_> {
    /// Reads the options again. Returns what has changed and what has not.
    pub(super) fn reload(&mut self) -> Result<Vec<String>, Failure> {
        let taken = self.try_reload();
        self.host.on_reloaded(taken.is_ok());
        match &taken {
            Ok(notes) if notes.is_empty() => log::info!("the options were read again; nothing has changed"),
            Ok(notes) => notes.iter().for_each(|note| log::info!("the options were read again: {note}")),
            Err(failure) => log::error!("the options were read again and are wrong, so the old ones stay: {failure}"),
        }
        taken
    }

    fn try_reload(&mut self) -> Result<Vec<String>, Failure> {
        let Reload { settings, memory, shares, neighbors, notes } = self.host.reload()?;
        if let (Some(shares), Some(disk)) = (shares, &mut self.disk) {
            disk.share(&shares.folders, shares.rescan, shares.take_downloads)?;
        }
        if memory.is_some() {
            self.memory.set_budget(memory);
        }
        self.net.set_neighbors(&neighbors);
        self.feed(Input::Settings(settings));
        Ok(notes)
    }
}
