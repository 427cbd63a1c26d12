//! What the model is offered: the tools of all ready servers as functions.

mod names;
mod parameters;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde_json::Value;

use crate::{
    arguments::{self, Schema},
    event::{CatalogReady, FunctionEntry, JsonObject, Target},
    limits,
    policy::Policy,
    tool::{Catalog, Hints, Tool},
};

/// The functions of a round, and the catalogs they were made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Toolbox {
    /// The catalogs, by server name.
    pub catalogs: Vec<Arc<Catalog>>,
    /// The functions, by name.
    pub functions: Vec<Function>,
    /// Servers whose functions were left out because there were too many (`limits::FUNCTIONS`).
    /// One that is named here and has functions was too large alone and is offered in part.
    pub left_out: Vec<String>,
    schemas: Schemas,
}

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name: `server__tool`, made legal and unique (`^[a-zA-Z0-9_-]{1,64}$`).
    pub name: String,
    /// The tool it stands for.
    pub target: Target,
    /// What happens to a call before it runs.
    pub policy: Policy,
    /// What it does, cut to `limits::FUNCTION_DESCRIPTION_CHARS`.
    pub description: String,
    /// JSON Schema of the arguments, adapted to what model endpoints accept.
    pub parameters: Value,
}

impl Toolbox {
    /// The functions for these catalogs, each under the policy that `policy` names for it.
    ///
    /// The result does not depend on the order of the catalogs. Of two catalogs of one server one
    /// counts. Above `limits::FUNCTIONS` the last servers by name are left out whole; only when
    /// the first alone has more tools than that, its first ones by name are taken.
    pub fn assemble(
        mut catalogs: Vec<Arc<Catalog>>,
        policy: impl Fn(&Target, Hints) -> Policy,
    ) -> Self {
        catalogs.sort_by(|a, b| (&a.server, &a.hash).cmp(&(&b.server, &b.hash)));
        catalogs.dedup_by(|later, first| later.server == first.server);
        let (catalogs, left_out) = fit(catalogs);
        let tools: Vec<(Target, &Tool)> = catalogs
            .iter()
            .flat_map(|catalog| {
                catalog
                    .tools
                    .iter()
                    .map(|tool| (target(catalog, tool), tool))
            })
            .take(limits::FUNCTIONS)
            .collect();
        let names = names::assign(tools.iter().map(|(target, _)| target));
        let functions = names
            .into_iter()
            .zip(tools)
            .map(|(name, (target, tool))| {
                let policy = policy(&target, tool.hints);
                Function::new(
                    FunctionEntry {
                        name,
                        server: target.server,
                        tool: target.tool,
                        policy,
                    },
                    tool,
                )
            })
            .collect();
        Self::new(catalogs, functions, left_out)
    }

    /// The toolbox that an event remembers: for an event made by [`Self::to_event`], an equal one.
    /// A function whose tool is in none of the event's catalogs is left out.
    pub fn from_event(event: &CatalogReady) -> Self {
        let functions = event
            .functions
            .iter()
            .filter_map(|entry| {
                let tool = find(&event.catalogs, &entry.server, &entry.tool)?;
                Some(Function::new(entry.clone(), tool))
            })
            .collect();
        Self::new(event.catalogs.clone(), functions, event.left_out.clone())
    }

    fn new(
        catalogs: Vec<Arc<Catalog>>,
        mut functions: Vec<Function>,
        left_out: Vec<String>,
    ) -> Self {
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        functions.dedup_by(|later, first| later.name == first.name);
        let schemas = Schemas(functions.iter().map(|_| OnceLock::new()).collect());
        Self {
            catalogs,
            functions,
            left_out,
            schemas,
        }
    }

    /// The event that remembers this toolbox.
    pub fn to_event(&self) -> CatalogReady {
        let functions = self.functions.iter().map(|function| FunctionEntry {
            name: function.name.clone(),
            server: function.target.server.clone(),
            tool: function.target.tool.clone(),
            policy: function.policy,
        });
        CatalogReady {
            catalogs: self.catalogs.clone(),
            functions: functions.collect(),
            left_out: self.left_out.clone(),
        }
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(self.position(name)?)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.functions
            .binary_search_by(|function| function.name.as_str().cmp(name))
            .ok()
    }

    /// The tool that a function of this toolbox stands for, as its server describes it.
    pub fn tool(&self, function: &Function) -> Option<&Tool> {
        find(
            &self.catalogs,
            &function.target.server,
            &function.target.tool,
        )
    }

    /// The arguments as the tool takes them, if they fit the tool's own input schema (not the
    /// adapted one): [`arguments::parse`], then [`Schema::check`]. The schema is compiled at the
    /// first call of the function. The error is for the model: what is wrong, and where.
    pub fn check_arguments(&self, function: &Function, raw: &str) -> Result<JsonObject, String> {
        let arguments = arguments::parse(raw)?;
        let Some(tool) = self.tool(function) else {
            return Ok(arguments);
        };
        let compile = || Schema::compile(&tool.input_schema);
        match self
            .position(&function.name)
            .and_then(|position| self.schemas.0.get(position))
        {
            Some(schema) => schema.get_or_init(compile).check(&arguments)?,
            None => compile().check(&arguments)?,
        }
        Ok(arguments)
    }
}

impl Function {
    fn new(entry: FunctionEntry, tool: &Tool) -> Self {
        let description = tool
            .description
            .as_deref()
            .or(tool.title.as_deref())
            .unwrap_or_default();
        Self {
            name: entry.name,
            target: Target {
                server: entry.server,
                tool: entry.tool,
            },
            policy: entry.policy,
            description: cut(description.trim(), limits::FUNCTION_DESCRIPTION_CHARS),
            parameters: parameters::adapt(&tool.input_schema),
        }
    }
}

/// The compiled schemas of the functions, in their order. A cache: it says nothing that the
/// catalogs do not, so it takes no part in comparing or showing a toolbox.
#[derive(Clone, Default)]
struct Schemas(Vec<OnceLock<Schema>>);

impl PartialEq for Schemas {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schemas")
    }
}

/// The catalogs, sorted by server, that fit into `limits::FUNCTIONS`, and the names of the others.
fn fit(catalogs: Vec<Arc<Catalog>>) -> (Vec<Arc<Catalog>>, Vec<String>) {
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    let mut functions = 0_usize;
    for catalog in catalogs {
        let tools = catalog.tools.len();
        let fits = left_out.is_empty() && functions.saturating_add(tools) <= limits::FUNCTIONS;
        if !fits && tools > 0 {
            left_out.push(catalog.server.clone());
        }
        if fits || functions == 0 || tools == 0 {
            functions = functions.saturating_add(tools);
            kept.push(catalog);
        }
    }
    (kept, left_out)
}

/// A name that endpoints take for a function, whatever the model wrote: a call of a function that
/// does not exist stays in the history too, and one illegal name makes the whole request fail.
pub(crate) fn legal_name(name: &str) -> String {
    let mut legal = names::sanitised(name);
    legal.truncate(limits::FUNCTION_NAME_BYTES);
    legal
}

fn target(catalog: &Catalog, tool: &Tool) -> Target {
    Target {
        server: catalog.server.clone(),
        tool: tool.name.clone(),
    }
}

fn find<'a>(catalogs: &'a [Arc<Catalog>], server: &str, tool: &str) -> Option<&'a Tool> {
    let catalog = catalogs.iter().find(|catalog| catalog.server == server)?;
    catalog.tools.iter().find(|known| known.name == tool)
}

/// The text, its end replaced by "…" when it has more than `most` characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests;
