//! `toolgate login`, `token` and `logout`.

use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    Error, Way,
    callback::{Callback, PATIENCE},
    key::Key,
    logins::{Login, Logins},
    origin::Origin,
    site::{Standing, Who},
    terminal::{agrees, note, say},
};

/// How the person gets to the address to sign in at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// It is opened in their browser, if there is one, and printed.
    Browser,
    /// It is printed.
    Address,
}

/// Signs in, and keeps the token.
pub(super) async fn login(
    way: &Way,
    logins: &Logins,
    origin: &Origin,
    show: Show,
) -> Result<(), Error> {
    let site = way.site(origin);
    let io = |error| Error::failed(format!("cannot listen on this machine: {error}"));
    let callback = Callback::listen().await.map_err(io)?;
    let address = site.sign_in_address(callback.url()).await?;
    say(&format!("Sign in here:\n\n  {address}\n"));
    if show == Show::Browser {
        open_browser(&address);
    }
    let minutes = PATIENCE.as_secs() / 60;
    note(&format!(
        "Waiting for you to sign in in the browser (at most {minutes} minutes; ctrl-c ends) …"
    ));
    let Some(token) = callback.token().await.map_err(io)? else {
        return Err(Error::failed(format!(
            "nobody signed in within {minutes} minutes; run: toolgate login {origin}"
        )));
    };
    let who = match site.standing(&token).await {
        Standing::SignedIn(who) => who,
        Standing::Ended => {
            let message = format!("Pomerium does not take the token it gave for {origin}");
            return Err(Error::failed(message));
        }
        Standing::Unknown(why) => return Err(Error::failed(why)),
    };
    if let Some(before) = logins.get(origin)?
        && is_another(&before, &who)
    {
        replace(&before, origin, &who)?;
    }
    keep(logins, origin, token, &who)
}

/// Whether the login that was kept is not this person's.
fn is_another(before: &Login, who: &Who) -> bool {
    match (&before.subject, &who.subject) {
        (Some(before), Some(now)) => before != now,
        (Some(_) | None, _) => before.name != who.name,
    }
}

/// Says that another person signed in: whoever has the browser is not whoever has the terminal,
/// or somebody sent them a page. Programs would act for that person from now on.
fn replace(before: &Login, origin: &Origin, who: &Who) -> Result<(), Error> {
    let (before, now) = (&before.name, who.full_name());
    note(&format!(
        "You were signed in to {origin} as {before}. Now {now} signed in, and your programs would \
         act as {now}."
    ));
    match agrees("Keep this login in place of the one before?") {
        Some(true) => Ok(()),
        Some(false) => Err(Error::failed(format!(
            "nothing was changed: the login of {before} is kept"
        ))),
        None => {
            note(&format!("Warning: the login of {before} is replaced."));
            Ok(())
        }
    }
}

fn keep(logins: &Logins, origin: &Origin, token: Key, who: &Who) -> Result<(), Error> {
    let login = Login {
        token,
        name: who.name.clone(),
        subject: who.subject.clone(),
    };
    logins.put(origin, login)?;
    say(&format!(
        "Signed in to {origin} as {}. The token is kept in {}.\n\n{}",
        who.full_name(),
        logins.path().display(),
        next(origin),
    ));
    Ok(())
}

/// What to do with a login. Most SDKs do not find names under `.localhost`: the forwarder does.
fn next(origin: &Origin) -> String {
    let connect = format!("  toolgate connect {origin}");
    if origin.host().ends_with(".localhost") {
        return format!("For SDKs and other programs:\n\n{connect}");
    }
    format!(
        "For SDKs:\n\n  \
         export OPENAI_BASE_URL={origin}/v1\n  \
         export OPENAI_API_KEY=\"$(toolgate token {origin})\"\n\n\
         For programs that run for long, or take no such key:\n\n{connect}"
    )
}

/// No browser is no error: the address has been printed.
fn open_browser(address: &Url) {
    if open::that_detached(address.as_str()).is_err() {
        // What the launcher says repeats the whole address.
        note("(No browser could be opened here: open the address above.)");
    }
}

/// Prints the API key, after asking whether it is still worth something.
pub(super) async fn token(way: &Way, logins: &Logins, origin: Option<Origin>) -> Result<(), Error> {
    let origin = match origin {
        Some(origin) => origin,
        None => only(logins)?,
    };
    let (login, _) = signed_in(way, logins, &origin).await?;
    say(login.token.api_key().expose_secret());
    Ok(())
}

/// The login there and whose it is, if it is good for anything.
pub(super) async fn signed_in(
    way: &Way,
    logins: &Logins,
    origin: &Origin,
) -> Result<(Login, Who), Error> {
    let Some(login) = logins.get(origin)? else {
        let others = logins.origins()?.join(", ");
        let others = match others.as_str() {
            "" => String::new(),
            some => format!(" (only to {some})"),
        };
        return Err(Error::failed(format!(
            "you are not signed in to {origin}{others}; run: toolgate login {origin}"
        )));
    };
    match way.site(origin).standing(&login.token).await {
        Standing::SignedIn(who) => Ok((login, who)),
        Standing::Ended => Err(Error::failed(format!(
            "the session of {} at {origin} has ended; run: toolgate login {origin}",
            login.name
        ))),
        Standing::Unknown(why) => Err(Error::failed(why)),
    }
}

/// The only login there is.
fn only(logins: &Logins) -> Result<Origin, Error> {
    let origins = logins.origins()?;
    match origins.as_slice() {
        [] => Err(Error::failed(
            "you are not signed in; run: toolgate login URL",
        )),
        [only] => only
            .parse()
            .map_err(|_| Error::failed(format!("{only} is no address; run: toolgate login URL"))),
        several => Err(Error::failed(format!(
            "you are signed in to {}; say which: toolgate token URL",
            several.join(", ")
        ))),
    }
}

/// Forgets a login.
pub(super) fn logout(logins: &Logins, origin: &Origin) -> Result<(), Error> {
    if !logins.forget(origin)? {
        return Err(Error::failed(format!("you are not signed in to {origin}")));
    }
    say(&format!(
        "Forgot the login to {origin}. The session itself ends when you sign out there in your \
         browser, or when it expires."
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_person_is_told_by_the_subject_and_by_the_name_in_older_files() {
        let before = |subject: Option<&str>| Login {
            token: Key::new("a.b.c").unwrap(),
            name: "Ana".to_owned(),
            subject: subject.map(str::to_owned),
        };
        let who = |json: &str| serde_json::from_str::<Who>(json).unwrap();
        let ana = who(r#"{"name":"Ana","subject":"1"}"#);
        let other_ana = who(r#"{"name":"Ana","subject":"2"}"#);
        let renamed = who(r#"{"name":"Ana B.","subject":"1"}"#);
        let ben = who(r#"{"name":"Ben"}"#);
        assert!(!is_another(&before(Some("1")), &ana));
        assert!(!is_another(&before(Some("1")), &renamed));
        assert!(is_another(&before(Some("1")), &other_ana));
        assert!(is_another(&before(Some("1")), &ben));
        assert!(!is_another(&before(None), &ana));
        assert!(is_another(&before(None), &renamed));
    }
}
