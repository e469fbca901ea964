//! The log of revisions: what changed, when, by whom and why, with the documents that it adds up to.
//!
//! Revisions count from 1; revision 0 is the empty mesh. Every [`SNAPSHOT_EVERY`] revisions the full set is written
//! beside the log, if the log has grown by as much, so that an old revision is not rebuilt from the first one on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, failed};
use crate::resources::{Key, Manifest};

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
/// The current documents, by their key as JSON.
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
pub(super) const SNAPSHOTS: TableDefinition<u64, &[u8]> = TableDefinition::new("snapshots");

pub(super) const SNAPSHOT_EVERY: u64 = 64;

/// Resources as they were written.
pub type Documents = BTreeMap<Key, Manifest>;

/// One revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub revision: u64,
    pub time: Timestamp,
    pub author: String,
    pub message: String,
    pub changes: Vec<Delta>,
}

/// What happened to one resource: created without `before`, deleted without `after`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    pub key: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Manifest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Manifest>,
}

/// A revision to be.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub time: Timestamp,
    pub author: String,
    pub message: String,
    pub changes: Vec<Delta>,
}

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(EVENTS)?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(SNAPSHOTS)?;
    Ok(())
}

impl Store {
    /// Writes the next revision and the documents that it leads to. Durable when it returns.
    pub fn apply(&self, new: NewEvent) -> Result<u64, StoreError> {
        self.write(|transaction| {
            let mut events = transaction.open_table(EVENTS)?;
            let revision = events.last()?.map_or(0, |(revision, _)| revision.value()) + 1;
            let NewEvent { time, author, message, changes } = new;
            let event = Event { revision, time, author, message, changes };
            events.insert(revision, json(&event)?.as_slice())?;
            let mut objects = transaction.open_table(OBJECTS)?;
            for change in &event.changes {
                let key = key_text(&change.key)?;
                match &change.after {
                    Some(document) => objects.insert(key.as_str(), json(document)?.as_slice())?,
                    None => objects.remove(key.as_str())?,
                };
            }
            let mut snapshots = transaction.open_table(SNAPSHOTS)?;
            if revision.is_multiple_of(SNAPSHOT_EVERY) && is_worth_a_snapshot(&events, &snapshots)? {
                let full: Vec<(Key, Manifest)> = self.documents_in(&objects)?.into_iter().collect();
                snapshots.insert(revision, json(&full)?.as_slice())?;
            }
            Ok(revision)
        })
    }

    /// The newest revision; 0 when nothing was ever applied.
    pub fn revision(&self) -> Result<u64, StoreError> {
        let events = self.read()?.open_table(EVENTS)?;
        Ok(events.last()?.map_or(0, |(revision, _)| revision.value()))
    }

    /// The current documents.
    pub fn documents(&self) -> Result<Documents, StoreError> {
        self.documents_in(&self.read()?.open_table(OBJECTS)?)
    }

    /// The documents as they were at `revision`, rebuilt from the nearest snapshot and the events after it.
    pub fn documents_at(&self, revision: u64) -> Result<Documents, StoreError> {
        let transaction = self.read()?;
        let events = transaction.open_table(EVENTS)?;
        let newest = events.last()?.map_or(0, |(revision, _)| revision.value());
        if revision > newest {
            return Err(StoreError::NoRevision { asked: revision, newest });
        }
        let snapshots = transaction.open_table(SNAPSHOTS)?;
        let (start, mut documents) = match snapshots.range(..=revision)?.next_back() {
            Some(entry) => {
                let (start, full) = entry?;
                let full: Vec<(Key, Manifest)> = self.parse(full.value())?;
                (start.value(), full.into_iter().collect())
            }
            None => (0, Documents::new()),
        };
        for entry in events.range(start + 1..=revision)? {
            let event: Event = self.parse(entry?.1.value())?;
            replay(&mut documents, event.changes);
        }
        Ok(documents)
    }

    /// The newest revisions, at most `limit`, newest first.
    pub fn history(&self, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events = self.read()?.open_table(EVENTS)?;
        events.iter()?.rev().take(limit).map(|entry| self.parse(entry?.1.value())).collect()
    }

    fn documents_in(&self, objects: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Documents, StoreError> {
        objects
            .iter()?
            .map(|entry| {
                let (key, document) = entry?;
                Ok((self.parse(key.value().as_bytes())?, self.parse(document.value())?))
            })
            .collect()
    }
}

/// Whether what was written since the last snapshot outweighs it: a large mesh of which little changes is not written
/// again and again, and a revision is still rebuilt out of events that are about as much as itself.
fn is_worth_a_snapshot(
    events: &impl ReadableTable<u64, &'static [u8]>,
    snapshots: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<bool, StoreError> {
    let Some((last, full)) = snapshots.last()? else { return Ok(true) };
    let (limit, mut written) = (full.value().len(), 0);
    for event in events.range(last.value() + 1..)? {
        written += event?.1.value().len();
        if written >= limit {
            return Ok(true);
        }
    }
    Ok(false)
}

fn replay(documents: &mut Documents, changes: Vec<Delta>) {
    for change in changes {
        match change.after {
            Some(document) => documents.insert(change.key, document),
            None => documents.remove(&change.key),
        };
    }
}

fn key_text(key: &Key) -> Result<String, StoreError> {
    serde_json::to_string(key).map_err(failed)
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(failed)
}
