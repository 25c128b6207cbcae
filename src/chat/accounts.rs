//! The built-in accounts: registering, logging in, who one is. No answer tells whether an e-mail address has an account, by text or by
//! time, except the `409` that whoever registers must get.

use std::net::IpAddr;

use entity::UserId;

use super::Chat;
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};
use crate::folding::fold;
use crate::store::{NewUser, User};

/// Which door somebody logs in through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// Everybody but agencies.
    Traveller,
    /// Agencies.
    Agency,
}

/// What somebody registers with.
#[derive(Default)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct NewAccount {
    pub username: String,
    pub email: String,
    pub password: String,
    pub role: String,
    pub profile: Profile,
}

/// What an agency says of itself. It is kept where the old backend has columns for it.
#[derive(Default)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct Profile {
    pub phone: Option<String>,
    pub website: Option<String>,
    pub address: Option<String>,
    pub description: Option<String>,
}

impl Profile {
    /// The columns with what is said; refused is what no such column holds.
    fn columns(self) -> Result<Vec<(&'static str, String)>> {
        let fields = [
            ("phone", self.phone, 50),
            ("website", self.website, 255),
            ("address", self.address, 255),
            ("description", self.description, 4000),
        ];
        let said = fields.into_iter().filter_map(|(name, text, most)| Some((name, text.filter(|text| !text.trim().is_empty())?, most)));
        said.map(|(name, text, most)| match text {
            text if text.chars().count() > most => Err(Error::invalid(format!("{name} may have {most} characters"))),
            text if text.contains('\0') => Err(Error::invalid("a field contains a NUL character")),
            text => Ok((name, text)),
        })
        .collect()
    }
}

const AGENCY: &str = "agency";
const TRAVELLER: &str = "traveller";
/// bcrypt looks at no more.
const PASSWORD_BYTES: usize = 72;

impl Chat {
    /// Counts one attempt of a client address to log in or to register, or refuses it.
    pub fn limit_login(&self, from: IpAddr) -> Result<()> {
        self.limits.check_login(from)
    }

    /// Opens an account and returns it with a token, unless it has to be let in first. Refused: a bad field, an e-mail address that is taken. Where
    /// the old backend had its accounts its rules hold, too.
    pub async fn register(&self, new: NewAccount) -> Result<(User, Option<String>)> {
        let (username, email) = (new.username.trim().to_owned(), new.email.trim().to_lowercase());
        let role = match new.role.trim().to_lowercase().as_str() {
            "" if self.store.is_adopted() => return Err(Error::invalid("Role is required")),
            "" | TRAVELLER => TRAVELLER,
            AGENCY => AGENCY,
            _ => return Err(Error::invalid("role must be traveller or agency")),
        };
        if username.is_empty() || email.is_empty() || new.password.is_empty() {
            return Err(Error::invalid("username, email and password are required"));
        }
        if username.chars().count() > 100 || email.chars().count() > 150 || new.password.len() > PASSWORD_BYTES {
            return Err(Error::invalid("username may have 100 characters, email 150, password 72 bytes"));
        }
        if !email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()) {
            return Err(Error::invalid("email is not an e-mail address"));
        }
        if self.store.is_adopted() && username.chars().count() < 3 {
            return Err(Error::invalid("Username must be at least 3 characters"));
        }
        if self.store.is_adopted() && new.password.chars().count() < 6 {
            return Err(Error::invalid("Password must be at least 6 characters"));
        }
        if [&username, &email, &new.password].iter().any(|text| text.contains('\0')) {
            return Err(Error::invalid("a field contains a NUL character"));
        }
        if username.chars().chain(email.chars()).any(|c| c.is_control() || is_hidden(c)) {
            return Err(Error::invalid("username and email may not have control characters"));
        }
        let profile = new.profile.columns()?;
        let password_hash = self.passwords.hash(new.password).await?;
        let row = NewUser { username, email, password_hash, role: role.to_owned(), profile, created_at: clock::now() };
        let row = self.writer.insert(self.store.new_user(&row), |_| ()).await?;
        if !row.is_new {
            let is_adopted = self.store.is_adopted();
            return Err(if is_adopted { Error::invalid("Email already exists") } else { Error::Conflict("Email is already registered") });
        }
        let id = UserId(row.id);
        let user = self.store.find_user(id).await?.ok_or_else(|| Error::internal("a new user is not found"))?;
        let token = self.require_let_in(&user).ok().map(|()| self.sign(id, user.role.as_deref())).transpose()?;
        Ok((self.completed(user), token))
    }

    /// Refused: where the old backend had its accounts, an agency that no admin has let in, whatever token it has.
    pub(super) fn require_let_in(&self, user: &User) -> Result<()> {
        let is_awaited = self.store.is_adopted() && user.role.as_deref() == Some(AGENCY);
        match user.verified {
            ..0 if is_awaited => Err(Error::Forbidden("Your account was rejected")),
            0 if is_awaited => Err(Error::Forbidden("Pending admin approval")),
            _ => Ok(()),
        }
    }

    /// Without an old backend there is no page on which a profile could be completed, and G2 would ask for it after every login.
    fn completed(&self, mut user: User) -> User {
        user.is_profile_completed |= self.settings.legacy_upstream.is_none();
        user
    }

    /// Logs in from a client address and returns the account with a token. Refused, all in the same words: an unknown e-mail address, a wrong password, the
    /// wrong door; whoever is banned; and, known or not, an account whose logins have failed too often.
    /// Where the legacy backend had its accounts, its rule holds, too: an agency waits until an admin has verified it.
    pub async fn login(&self, kind: LoginKind, from: IpAddr, email: &str, password: String) -> Result<(User, String)> {
        const WRONG: Error = Error::Unauthorized("Invalid email or password");
        let email = email.trim().to_lowercase();
        let name = fold(&email);
        let attempt = self.limits.check_account(from, &name)?;
        let found = if email.contains('\0') { Ok(None) } else { self.store.find_user_by_email(&email).await };
        // Nobody has tried a password as long as the database cannot be asked.
        let found = found.inspect_err(|_| attempt.take_back())?;
        // A database may take more letters for the same than are counted as the same.
        let found = found.filter(|user| fold(user.email.trim()) == name);
        let matches = self.passwords.verify(password, found.as_ref().map(|user| user.password_hash.as_str())).await?;
        let user = found.filter(|_| matches).ok_or(WRONG)?;
        if (user.role.as_deref() == Some(AGENCY)) != (kind == LoginKind::Agency) {
            return Err(WRONG);
        }
        attempt.succeed();
        if self.is_banned(user.id) {
            return Err(Error::Forbidden("This account is banned"));
        }
        self.require_let_in(&user)?;
        let token = self.sign(user.id, user.role.as_deref())?;
        Ok((self.completed(user), token))
    }

    /// The caller's own account.
    pub async fn me(&self, actor: &Actor) -> Result<User> {
        self.store.find_user(actor.id).await?.map(|user| self.completed(user)).ok_or(super::bans::GONE)
    }

    /// A token for a user, as register and login give it out.
    pub fn sign(&self, user: UserId, role: Option<&str>) -> Result<String> {
        self.tokens.sign(user, role, self.settings.auth.token_lifetime)
    }
}

/// Characters that turn the direction of what follows, or break its line: a name could look like another one, or like two lines.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
