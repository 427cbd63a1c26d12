//! One tool call: its work, its progress and its end.

use std::{
    convert::Infallible,
    future::pending,
    time::{Duration, Instant},
};

use rmcp::{
    Peer, RoleServer,
    model::{CallToolResult, JsonObject, ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{self, Identity, Rows, Written},
    arguments::{self, DescribeTable, ListTables, ReadQuery, Whoami, WriteQuery},
    database::{Access, Database, Meter},
    failure::Failure,
    identity::Caller,
    journal::{Entry, Outcome},
    rows::{self, Query},
    schema,
    tools::ToolName,
};

/// Between two notifications of a call's progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What a call works with.
pub(crate) struct Call {
    pub(crate) database: Database,
    /// Who asks, where that is verified.
    pub(crate) caller: Option<Caller>,
    pub(crate) cancel: CancellationToken,
    pub(crate) progress: Option<Progress>,
}

/// Where the progress of a call goes, if its caller wants to know.
pub(crate) struct Progress {
    token: ProgressToken,
    peer: Peer<RoleServer>,
}

/// Writes the end of a call to the journal and gives what its caller is told.
pub(crate) fn conclude(entry: Entry, result: Result<CallToolResult, Failure>) -> CallToolResult {
    let (outcome, result) = match result {
        Ok(result) => (Outcome::Ok, result),
        Err(failed) => (failed.outcome, answer::failure(failed)),
    };
    entry.end(outcome);
    result
}

impl Call {
    /// Does what `tool` is for.
    pub(crate) async fn run(
        self,
        tool: ToolName,
        arguments: Option<JsonObject>,
    ) -> Result<CallToolResult, Failure> {
        let meter = Meter::default();
        let work = async {
            match tool {
                ToolName::DescribeTable => self.describe_table(arguments).await,
                ToolName::ListTables => self.list_tables(arguments).await,
                ToolName::ReadQuery => self.read_query(arguments, meter.clone()).await,
                ToolName::Whoami => self.whoami(arguments),
                ToolName::WriteQuery => self.write_query(arguments, meter.clone()).await,
            }
        };
        let Some(progress) = &self.progress else {
            return work.await;
        };
        tokio::select! {
            biased;
            result = work => result,
            never = progress.report(&meter) => match never {},
        }
    }

    async fn list_tables(&self, arguments: Option<JsonObject>) -> Result<CallToolResult, Failure> {
        let ListTables {} = arguments::parse(arguments)?;
        let tables = self
            .database
            .run(Access::Read, &self.cancel, schema::list)
            .await?;
        answer::success(&tables)
    }

    async fn describe_table(
        &self,
        arguments: Option<JsonObject>,
    ) -> Result<CallToolResult, Failure> {
        let DescribeTable { table_name } = arguments::parse(arguments)?;
        let describe = move |link: &_| schema::describe(link, &table_name);
        answer::success(
            &self
                .database
                .run(Access::Read, &self.cancel, describe)
                .await?,
        )
    }

    async fn read_query(
        &self,
        arguments: Option<JsonObject>,
        meter: Meter,
    ) -> Result<CallToolResult, Failure> {
        let asked: ReadQuery = arguments::parse(arguments)?;
        let limit = asked.checked_limit()?;
        let query = Query {
            sql: asked.query,
            params: asked.params,
            limit,
            meter,
        };
        let read = move |link: &_| rows::read(link, &query);
        answer::success(&Rows(
            self.database.run(Access::Read, &self.cancel, read).await?,
        ))
    }

    fn whoami(&self, arguments: Option<JsonObject>) -> Result<CallToolResult, Failure> {
        let Whoami {} = arguments::parse(arguments)?;
        answer::success(&Identity::of(self.caller.clone()))
    }

    async fn write_query(
        &self,
        arguments: Option<JsonObject>,
        meter: Meter,
    ) -> Result<CallToolResult, Failure> {
        let asked: WriteQuery = arguments::parse(arguments)?;
        let limit = arguments::default_limit();
        let query = Query {
            sql: asked.query,
            params: asked.params,
            limit,
            meter,
        };
        let write = move |link: &_| rows::write(link, &query);
        let (changes, rows) = self
            .database
            .run(Access::Write, &self.cancel, write)
            .await?;
        let returned = (!rows.columns.is_empty()).then_some(rows);
        answer::success(&Written { changes, returned })
    }
}

impl Progress {
    /// For a request that carries a progress token.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Option<Self> {
        let token = context.meta.get_progress_token()?;
        Some(Self {
            token,
            peer: context.peer.clone(),
        })
    }

    /// Tells for ever how long the call runs and how many rows it has read. A caller that cannot
    /// be told any more is told nothing; the call itself goes on.
    async fn report(&self, meter: &Meter) -> Infallible {
        let started = Instant::now();
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and no progress.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            // Tenths are enough, and more of them between two ticks than one.
            let seconds = (started.elapsed().as_secs_f64() * 10.0).floor() / 10.0;
            let message = format!("running for {seconds:.1} s, {} rows so far", meter.rows());
            let told =
                ProgressNotificationParam::new(self.token.clone(), seconds).with_message(message);
            if self.peer.notify_progress(told).await.is_err() {
                pending::<()>().await;
            }
        }
    }
}
