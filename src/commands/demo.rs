//! `tidings demo`: a fresh database in a temporary folder with users, conversations and tickets, and commands to try.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use entity::Category;
use tidings::app::Server;
use tidings::auth::Actor;
use tidings::chat::{Chat, NewAccount, Outgoing};
use tidings::config::Settings;
use tidings::error::{Error, Result};
use tidings::store::jobs::Done;

const USERS: [(&str, &str); 4] = [("ann", "traveller"), ("ben", "traveller"), ("cleo", "traveller"), ("globetrot", "agency")];
const PASSWORD: &str = "demo-password";

/// Serves the demo until the process is told to stop, then removes its folder.
pub async fn run(mut settings: Settings) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("tidings-demo-{}", tidings::auth::random_hex::<4>()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("The demo folder cannot be made: {e}."))?;
    settings.database_url = format!("sqlite://{}", folder.join("demo.db").display());
    settings.auth.jwt_secret = None;
    // Its passwords and tokens are known to everybody.
    settings.host = Ipv4Addr::LOCALHOST.to_string();
    let outcome = serve(settings, &folder).await;
    std::fs::remove_dir_all(&folder).ok();
    outcome
}

async fn serve(settings: Settings, folder: &Path) -> Result<(), String> {
    super::say(&format!("demo: making a database in {}", folder.display()));
    let server = Server::start(settings).await?;
    let base = format!("http://{}", super::reachable(server.address));
    let people = populate(server.chat()).await.map_err(|e| format!("The demo could not be filled: {e}."))?;
    println!("tidings demo at {base}, in {} (removed when you stop it with Ctrl-C)\n", folder.display());
    println!("{:<4}{:<10}{:<22}{:<16}token", "id", "username", "e-mail", "password");
    for (actor, email, token) in &people {
        println!("{:<4}{:<10}{email:<22}{PASSWORD:<16}{token}{}", actor.id, actor.name, if actor.is_admin { "  (admin)" } else { "" });
    }
    let token = people.first().map_or("", |(_, _, token)| token);
    println!("\nTry, as ann:\n");
    println!("  TOKEN={token}");
    println!("  curl -H \"Authorization: Bearer $TOKEN\" {base}/api/messaging/conversations");
    println!("  curl -H \"Authorization: Bearer $TOKEN\" {base}/api/messaging/conversations/1/messages");
    println!("  curl -H \"Authorization: Bearer $TOKEN\" {base}/api/messaging/support/tickets");
    let outcome = server.run(super::until_told_to_stop()).await;
    server.stop().await;
    outcome
}

async fn populate(chat: &Arc<Chat>) -> Result<Vec<(Actor, String, String)>> {
    let mut people = Vec::new();
    for (n, (name, role)) in USERS.into_iter().enumerate() {
        super::say(&format!("demo: registering {name}, {} of {}", n + 1, USERS.len()));
        let email = format!("{name}@demo.example");
        let account = NewAccount {
            username: name.to_owned(),
            email: email.clone(),
            password: PASSWORD.to_owned(),
            role: role.to_owned(),
            ..NewAccount::default()
        };
        let (user, _) = chat.register(account).await?;
        let token = chat.sign(user.id, Some(if name == "cleo" { "admin" } else { role }))?;
        people.push((chat.authenticate(&token).await?, email, token));
    }
    super::say("demo: writing two conversations and a ticket");
    if let [(ann, ..), (ben, ..), (cleo, ..), (agency, ..)] = people.as_slice() {
        for (from, to, text) in [
            (ann, ben, "Hi Ben, are you coming to Lisbon in May?"),
            (ben, ann, "Yes! Have you booked the train already?"),
            (ann, ben, "Not yet. Shall we do it together tonight?"),
            (ann, agency, "Do you have a tour of the Azores for two?"),
            (agency, ann, "We do: seven days, from 890 EUR. Shall I send the details?"),
        ] {
            say(chat, from, to, text).await?;
        }
        let (subject, description) = ("Refund of a cancelled ferry", "My ferry of 3 May was cancelled. How do I get my money back?");
        let ticket = chat.create_ticket(ann, subject.into(), description.into(), Category::Booking).await?;
        let (access, _) = chat.require_ticket(cleo, ticket.id).await?;
        let text = "Hello Ann, the refund is on its way.".to_owned();
        told(|done| chat.send_support(cleo, access, Outgoing { text, ..Outgoing::default() }, Default::default(), done)).await?;
    }
    Ok(people)
}

async fn say(chat: &Arc<Chat>, from: &Actor, to: &Actor, text: &str) -> Result<()> {
    let (row, _) = chat.open_conversation(from, to.id).await?;
    let place = chat.require_participant(from, row.id).await?;
    told(|done| chat.send(from, place, Outgoing { text: text.to_owned(), ..Outgoing::default() }, done)).await
}

async fn told<T: Send + 'static, F: Future<Output = ()>>(act: impl FnOnce(Done<T>) -> F) -> Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    act(Done::new(move |outcome: Result<T>| drop(tell.send(outcome)))).await;
    told.await.map_err(Error::internal)?.map(drop)
}
