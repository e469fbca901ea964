//! For tests: a store in memory whose disk can be made to fail.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, StorageBackend, backends::InMemoryBackend};

use super::Store;

#[derive(Debug)]
struct Disk {
    memory: InMemoryBackend,
    is_broken: Arc<AtomicBool>,
}

impl Store {
    /// Every write fails from when `is_broken` is set.
    pub fn on_faulty_disk(is_broken: &Arc<AtomicBool>) -> Self {
        let disk = Disk { memory: InMemoryBackend::new(), is_broken: is_broken.clone() };
        let database = Database::builder().create_with_backend(disk).unwrap();
        let store = Self { database, file: PathBuf::from("memory") };
        store.create_tables().unwrap();
        store
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.memory.write(offset, data)
    }
}
