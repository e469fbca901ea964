//! Join tokens: the first proof of a workload that has no SVID yet, and what an account may register.
//!
//! A token is `weft-join-<id>-<secret>`. Only the SHA-256 of the secret is kept: the secret has 256 random bits, so that
//! a slow hash would add nothing. A use is on the disk before anything is signed for it, so that a crash can waste a
//! use and never grant one too many.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weft_certs::SpiffeId;

use super::{Store, StoreError, events::json, failed};

/// By the token's id.
const TOKENS: TableDefinition<&str, &[u8]> = TableDefinition::new("join_tokens");
/// By SPIFFE ID: the names of the services that its workloads may register, in the ID's own namespace.
const GRANTS: TableDefinition<&str, &[u8]> = TableDefinition::new("grants");

const PREFIX: &str = "weft-join-";
/// How long a spent or expired token can still be told from an unknown one.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The token itself. Never logged and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: String,
}

/// What a token is to be made for.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub account: Account,
    pub services: BTreeSet<String>,
    pub expires: Timestamp,
    pub uses: u32,
}

/// Whom a token lets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    pub namespace: String,
    pub service_account: String,
    pub spiffe_id: SpiffeId,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// A wrong secret looks the same, so that ids cannot be found out.
    #[error("the join token is unknown")]
    Unknown,
    #[error("the join token expired at {0}")]
    Expired(Timestamp),
    #[error("the join token is used up: its {0} uses are spent")]
    UsedUp(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    secret_sha256: String,
    account: Account,
    expires: Timestamp,
    uses: u32,
    uses_left: u32,
}

impl JoinToken {
    pub fn generate() -> Result<Self, getrandom::Error> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        Ok(Self { id: hex::encode(id), secret: hex::encode(secret) })
    }

    /// The public half: it may be logged.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Shown once, to who asked for the token.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.id, self.secret)
    }
}

impl FromStr for JoinToken {
    type Err = TokenRefusal;

    fn from_str(text: &str) -> Result<Self, TokenRefusal> {
        let is_hex = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
        text.strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
            .filter(|(id, secret)| is_hex(id, 16) && is_hex(secret, 64))
            .map(|(id, secret)| Self { id: id.to_owned(), secret: secret.to_owned() })
            .ok_or(TokenRefusal::Unknown)
    }
}

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(TOKENS)?;
    transaction.open_table(GRANTS)?;
    Ok(())
}

impl Store {
    /// Makes a token and grants its account the right to register the services. Forgets tokens that ended long ago.
    pub fn create_token(&self, new: NewToken, now: Timestamp) -> Result<JoinToken, StoreError> {
        let token = JoinToken::generate().map_err(failed)?;
        let NewToken { account, services, expires, uses } = new;
        self.write(|transaction| {
            let mut grants = transaction.open_table(GRANTS)?;
            let account_id = account.spiffe_id.to_string();
            let mut granted = self.granted(&grants, &account_id)?;
            granted.extend(services);
            grants.insert(account_id.as_str(), json(&granted)?.as_slice())?;

            let mut tokens = transaction.open_table(TOKENS)?;
            self.forget(&mut tokens, now)?;
            let record = Record { secret_sha256: sha256(&token.secret), account, expires, uses, uses_left: uses };
            tokens.insert(token.id.as_str(), json(&record)?.as_slice())?;
            Ok(())
        })?;
        Ok(token)
    }

    /// Takes one use of the token. Durable when it returns.
    ///
    /// Anyone who can connect can show a token, so that one that is refused neither waits for the only writer nor costs
    /// a write: it is looked at in a read first, and again where its use is counted.
    pub fn consume_token(
        &self,
        token: &JoinToken,
        now: Timestamp,
    ) -> Result<Result<Account, TokenRefusal>, StoreError> {
        if let Err(refusal) = self.usable(&self.read()?.open_table(TOKENS)?, token, now)? {
            return Ok(Err(refusal));
        }
        self.write_unless(|transaction| {
            let mut tokens = transaction.open_table(TOKENS)?;
            let mut record = match self.usable(&tokens, token, now)? {
                Ok(record) => record,
                Err(refusal) => return Ok(Err(refusal)),
            };
            record.uses_left -= 1;
            tokens.insert(token.id.as_str(), json(&record)?.as_slice())?;
            Ok(Ok(record.account))
        })
    }

    /// The services that workloads of this identity may register.
    pub fn grants(&self, identity: &SpiffeId) -> Result<BTreeSet<String>, StoreError> {
        self.granted(&self.read()?.open_table(GRANTS)?, identity.as_str())
    }

    fn granted(
        &self,
        grants: &impl ReadableTable<&'static str, &'static [u8]>,
        identity: &str,
    ) -> Result<BTreeSet<String>, StoreError> {
        grants.get(identity)?.map_or_else(|| Ok(BTreeSet::new()), |services| self.parse(services.value()))
    }

    fn usable(
        &self,
        tokens: &impl ReadableTable<&'static str, &'static [u8]>,
        token: &JoinToken,
        now: Timestamp,
    ) -> Result<Result<Record, TokenRefusal>, StoreError> {
        let Some(record) = tokens.get(token.id.as_str())? else { return Ok(Err(TokenRefusal::Unknown)) };
        let record: Record = self.parse(record.value())?;
        Ok(record.check(token, now).map(|()| record))
    }

    fn forget(
        &self,
        tokens: &mut redb::Table<'_, &'static str, &'static [u8]>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut ended = Vec::new();
        for entry in tokens.iter()? {
            let (id, record) = entry?;
            let record: Record = self.parse(record.value())?;
            if now.duration_since(record.expires) > jiff::SignedDuration::try_from(REMEMBERED).map_err(failed)? {
                ended.push(id.value().to_owned());
            }
        }
        for id in ended {
            tokens.remove(id.as_str())?;
        }
        Ok(())
    }
}

impl Record {
    fn check(&self, token: &JoinToken, now: Timestamp) -> Result<(), TokenRefusal> {
        if !equal_in_constant_time(&sha256(&token.secret), &self.secret_sha256) {
            return Err(TokenRefusal::Unknown);
        }
        if now >= self.expires {
            return Err(TokenRefusal::Expired(self.expires));
        }
        if self.uses_left == 0 {
            return Err(TokenRefusal::UsedUp(self.uses));
        }
        Ok(())
    }
}

/// The digest of a secret, in hex.
pub fn sha256(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Compares without telling by its time where two texts differ.
pub fn equal_in_constant_time(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |all, (x, y)| all | (x ^ y));
    a.len() == b.len() && differences == 0
}
