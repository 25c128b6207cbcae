//! A session on a websocket: the one task that reads, writes, pings and ends it; and the websocket that is to take over from polling.

use std::{
    ops::ControlFlow,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::request::Parts;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, interval, sleep, timeout},
};

use super::connection::{Broken, Connection, answer_ping};
use super::frames::{Event, Limits};
use crate::engine::{Ended, Engine, LINGER, Outcome, set};
use crate::handler::EngineIoHandler;
use crate::packets::CLOSE;
use crate::queue::{Beat, Ending, Phase, Work};
use crate::socket::{DisconnectReason, Socket};

/// So often a poll that waits is answered while a websocket is about to take over.
const RELEASE: Duration = Duration::from_millis(100);
/// How long a websocket that is closed may take to read the close frame.
const PARTING: Duration = Duration::from_secs(1);

/// Codes of close frames.
const NORMAL: u16 = 1000;
const TOO_LONG: u16 = 1009;

/// Begins a session on a websocket, and runs it.
pub async fn begin<H, S>(engine: Arc<Engine<H>>, io: S, before: Bytes, parts: Parts)
where
    H: EngineIoHandler,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (socket, open) = engine.open(parts, Phase::Websocket);
    let _ended = Ended { engine: &engine, socket: &socket };
    let mut connection = Connection::new(io, before);
    connection.text(&open);
    engine.handler.clone().on_connect(socket.clone());
    run(&engine, &socket, connection).await;
}

/// Lets a websocket take over from polling, and runs the session when it has. Until then polling goes on, whatever becomes of the websocket.
pub async fn upgrade<H, S>(engine: Arc<Engine<H>>, probing: Probing<H::Data>, io: S, before: Bytes)
where
    H: EngineIoHandler,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::new(io, before);
    let socket = probing.0.clone();
    let probed = timeout(engine.config.upgrade_timeout, probe(&engine, &socket, &mut connection)).await;
    // What waits, and who waits, is the websocket's from this on.
    let takes_over = matches!(probed, Ok(Ok(()))) && socket.queue.upgrade();
    drop(probing);
    if takes_over {
        run(&engine, &socket, connection).await;
    } else {
        connection.say_close(NORMAL);
        timeout(PARTING, connection.finish(&socket.queue)).await.ok();
    }
}

/// The session that a websocket tries to take over.
pub struct Probing<D: Default + Send + Sync + 'static>(pub Arc<Socket<D>>);

impl<D: Default + Send + Sync + 'static> Drop for Probing<D> {
    fn drop(&mut self) {
        self.0.queue.stop_probe();
    }
}

/// Answers the probe, and waits for the word that the client has stopped to poll.
async fn probe<H, S>(engine: &Engine<H>, socket: &Socket<H::Data>, connection: &mut Connection<S>) -> Result<(), Broken>
where
    H: EngineIoHandler,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = limits(engine, socket);
    if connection.next_packet(limits).await? != "2probe" {
        return Err(Broken);
    }
    connection.text("3probe");
    connection.flush(&socket.queue).await?;
    // A client that has read this waits for its poll before it says `5`; one that has not polls again.
    let mut releases = interval(RELEASE);
    let (mut packet, mut ended) = (pin!(connection.next_packet(limits)), pin!(socket.queue.ended()));
    loop {
        tokio::select! {
            packet = packet.as_mut() => return if packet? == "5" { Ok(()) } else { Err(Broken) },
            () = ended.as_mut() => return Err(Broken),
            _ = releases.tick() => socket.queue.release_poll(),
        }
    }
}

fn limits<H: EngineIoHandler>(engine: &Engine<H>, socket: &Socket<H::Data>) -> Limits {
    let now = socket.queue.incoming();
    Limits { message: engine.config.ws_max_message_size.min(now), frame: engine.config.ws_max_frame_size.min(now) }
}

/// Runs a session on its websocket to its end.
async fn run<H, S>(engine: &Arc<Engine<H>>, socket: &Arc<Socket<H::Data>>, mut connection: Connection<S>)
where
    H: EngineIoHandler,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ended = Ended { engine, socket };
    let mut session = Session { engine, socket, too_long: false };
    {
        let mut timer = pin!(sleep(engine.config.ping_interval));
        std::future::poll_fn(|cx| session.poll(cx, &mut connection, timer.as_mut())).await;
    }
    let too_long = session.too_long;
    engine.end(socket);
    let ending = socket.queue.closing().map_or(Ending::Cut, |closing| closing.ending);
    let patience = match ending {
        Ending::Cut => return,
        Ending::Quiet => PARTING,
        Ending::Flush => LINGER,
    };
    timeout(patience, async {
        connection.flush(&socket.queue).await?;
        while socket.queue.waiting().1 > 0 {
            connection.fill(&socket.queue);
            connection.flush(&socket.queue).await?;
        }
        if ending == Ending::Flush {
            connection.text(CLOSE);
        }
        connection.say_close(if too_long { TOO_LONG } else { NORMAL });
        connection.finish(&socket.queue).await
    })
    .await
    .ok();
}

struct Session<'a, H: EngineIoHandler> {
    engine: &'a Arc<Engine<H>>,
    socket: &'a Arc<Socket<H::Data>>,
    too_long: bool,
}

impl<H: EngineIoHandler> Session<'_, H> {
    /// Ready when the session is closing.
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<S>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<()> {
        let queue = &self.socket.queue;
        loop {
            let may_send = loop {
                match connection.poll_write(cx, queue) {
                    Poll::Ready(Err(Broken)) => queue.close(DisconnectReason::TransportError, Ending::Cut),
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending => break false,
                }
                match queue.work(None, true) {
                    Work::Close => return Poll::Ready(()),
                    Work::Send => connection.fill(queue),
                    Work::Nothing => break true,
                }
            };
            match self.read(cx, connection) {
                Read::Idle => {}
                Read::More => continue,
                Read::Over(reason) => {
                    queue.close(reason, Ending::Quiet);
                    return Poll::Ready(());
                }
            }
            match queue.beat(&self.engine.config) {
                Beat::Dead => queue.close(DisconnectReason::HeartbeatTimeout, Ending::Quiet),
                Beat::Wait(until) => set(&mut timer, until),
            }
            let rings = timer.as_mut().poll(cx).is_ready();
            // What the handler has emitted meanwhile goes at once, and so does what a ping is answered with.
            let writes = may_send && connection.has_more();
            match queue.work(Some(cx), may_send) {
                Work::Close => return Poll::Ready(()),
                Work::Nothing if !rings && !writes => return Poll::Pending,
                _ => {}
            }
        }
    }

    /// Reads what has come.
    fn read<S: AsyncRead + AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, connection: &mut Connection<S>) -> Read {
        let (engine, socket) = (self.engine, self.socket);
        let (limits, mut over, mut too_long) = (limits(engine, socket), None, false);
        let read = connection.poll_read(cx, limits, &mut |out, event| {
            let outcome = match event {
                Event::Text(packet) => engine.packet(socket, packet),
                Event::Binary(bytes) => {
                    engine.handler.on_binary(Bytes::copy_from_slice(bytes), socket.clone());
                    Outcome::Goes
                }
                Event::Ping(bytes) => {
                    answer_ping(out, bytes);
                    Outcome::Goes
                }
                Event::Close => Outcome::Ends(DisconnectReason::TransportClose),
                Event::TooLong => match socket.queue.instead() {
                    Some(instead) => {
                        engine.handler.on_message(instead, socket.clone());
                        Outcome::Goes
                    }
                    None => {
                        too_long = true;
                        Outcome::Ends(DisconnectReason::TransportError)
                    }
                },
            };
            match outcome {
                // The application may have closed the session, or raised its limits.
                Outcome::Goes if socket.queue.closing().is_some() || socket.queue.incoming() != usize::MAX => ControlFlow::Break(()),
                Outcome::Goes => ControlFlow::Continue(()),
                Outcome::Ends(reason) => {
                    over = Some(reason);
                    ControlFlow::Break(())
                }
            }
        });
        self.too_long |= too_long;
        match (over, read) {
            (Some(reason), _) => Read::Over(reason),
            (None, Poll::Ready(Err(Broken))) => Read::Over(DisconnectReason::TransportError),
            (None, Poll::Ready(Ok(()))) => Read::More,
            (None, Poll::Pending) => Read::Idle,
        }
    }
}

/// What came of reading.
enum Read {
    /// All that has come was read.
    Idle,
    /// There may be more.
    More,
    /// The session is over.
    Over(DisconnectReason),
}
