//! The embedded store: an append-only log of revisions with the state that it adds up to, in one redb file.
//!
//! redb, because a single process owns the data, an answer may only be given for what is on the disk, and there must be
//! nothing to tune or repair by hand: it is ACID with copy-on-write pages, so `kill -9` or a power cut at any moment
//! leaves the last commit whole. SQLite would bring a C library for the same; an LSM tree (fjall) is for write rates
//! that people who edit rules do not reach. Its [`Durability::Immediate`], the default, which `Store::write` spells
//! out, returns from `commit` only after fsync. Quick repair costs a second fsync per commit and makes the start after
//! a crash instant instead of a walk over the whole file.
//!
//! Everything that one change touches is written in one transaction. All calls block; callers on a runtime use
//! [`blocking`]. What a resource means and whether a change is allowed is decided by `mesh`, not here.

mod events;
#[cfg(test)]
mod faulty;
mod registrations;
mod tokens;
mod virtual_addresses;

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, DatabaseError, Durability, ReadableDatabase, TableDefinition, WriteTransaction};

pub use events::{Delta, Documents, Event, NewEvent};
pub use registrations::Registration;
pub use tokens::{Account, JoinToken, NewToken, TokenRefusal, equal_in_constant_time, sha256};
pub use virtual_addresses::AddressChanges;

/// Raised when the layout of the file changes; an older program then refuses the file instead of misreading it.
const FORMAT: u64 = 1;
/// Everything is in memory anyway, and the store is read only at the start and for old revisions; redb's default of 1 GiB
/// would let the cache outgrow the control plane.
const CACHE_BYTES: usize = 4 << 20;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store {0} is in use by another process")]
    Locked(PathBuf),
    #[error("the store {file} is damaged: {reason}")]
    Damaged { file: PathBuf, reason: String },
    #[error("the store {file} has format {found}, this version of weft reads format {FORMAT}")]
    Format { file: PathBuf, found: u64 },
    #[error("the disk is full: nothing was written")]
    DiskFull,
    #[error("an earlier write failed, so the store takes no more until the control plane is restarted")]
    Broken,
    #[error("the store failed: {0}")]
    Failed(String),
    #[error("there is no revision {asked}, the newest is {newest}")]
    NoRevision { asked: u64, newest: u64 },
}

pub struct Store {
    database: Database,
    file: PathBuf,
}

impl Store {
    /// Opens the store in `file`, or creates it. A file that appears is complete: it is made under another name first.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        if !file.try_exists().map_err(failed)? {
            create(file)?;
        }
        let mut builder = Database::builder();
        let database = builder
            .set_cache_size(CACHE_BYTES)
            // A plain open trusts the file and can panic over a damaged one.
            .set_check_integrity_on_open(true)
            .open(file)
            .map_err(|error| open_error(file, error))?;
        let store = Self { database, file: file.to_owned() };
        store.check_format()?;
        Ok(store)
    }

    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.read()?.open_table(META)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    pub fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(META)?.insert(key, value)?;
            Ok(())
        })
    }

    fn create_tables(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(META)?.insert("format", FORMAT.to_be_bytes().as_slice())?;
            events::create_tables(transaction)?;
            tokens::create_tables(transaction)?;
            registrations::create_tables(transaction)?;
            virtual_addresses::create_tables(transaction)
        })
    }

    fn read(&self) -> Result<redb::ReadTransaction, StoreError> {
        Ok(self.database.begin_read()?)
    }

    /// One transaction: all of `work` is on the disk when this returns `Ok`, nothing of it otherwise.
    fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Ok(done) = self.write_unless(|transaction| work(transaction).map(Ok::<T, Infallible>))?;
        Ok(done)
    }

    /// The same, for work that can decide against itself: a refusal writes nothing either.
    fn write_unless<T, R>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Result<T, R>, StoreError>,
    ) -> Result<Result<T, R>, StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(failed)?;
        transaction.set_quick_repair(true);
        match work(&transaction) {
            Ok(Ok(done)) => {
                transaction.commit()?;
                Ok(Ok(done))
            }
            undone => {
                transaction.abort()?;
                undone
            }
        }
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let bytes = self.meta("format")?.unwrap_or_default();
        let found = bytes.try_into().map(u64::from_be_bytes).map_err(|_| self.damaged("it does not say its format"))?;
        if found == FORMAT {
            return Ok(());
        }
        Err(StoreError::Format { file: self.file.clone(), found })
    }

    fn damaged(&self, reason: impl ToString) -> StoreError {
        StoreError::Damaged { file: self.file.clone(), reason: reason.to_string() }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| self.damaged(e))
    }
}

/// Runs `work` on the store away from the runtime's own thread, because it waits for the disk.
pub async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || work(&store)).await.map_err(failed)?
}

/// Makes the tables under a temporary name, so that a crash never leaves a file without its format.
fn create(file: &Path) -> Result<(), StoreError> {
    let temporary = file.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    weft_certs::file::write_private(&temporary, b"")?;
    let database = Database::builder().create(&temporary).map_err(|error| open_error(&temporary, error))?;
    let store = Store { database, file: temporary.clone() };
    store.create_tables()?;
    drop(store);
    std::fs::rename(&temporary, file)?;
    std::fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

fn open_error(file: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => StoreError::Locked(file.to_owned()),
        DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_) => {
            StoreError::Damaged { file: file.to_owned(), reason: error.to_string() }
        }
        DatabaseError::Storage(redb::StorageError::Corrupted(reason)) => {
            StoreError::Damaged { file: file.to_owned(), reason }
        }
        // What a file that is not a redb file at all is reported as.
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            StoreError::Damaged { file: file.to_owned(), reason: error.to_string() }
        }
        other => redb::Error::from(other).into(),
    }
}

fn failed(error: impl ToString) -> StoreError {
    StoreError::Failed(error.to_string())
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => failed(error),
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::PreviousIo => Self::Broken,
            other => failed(other),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

#[cfg(test)]
mod tests;
