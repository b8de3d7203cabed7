//! The two lists of groups.

use jiff::Timestamp;

use super::{App, Group, State, check, group::summary};
use crate::emulator::answer::Answer;
use crate::emulator::error::ApiError;
use crate::emulator::request::Params;

/// Entries on a page of `ListLiveMessageGroups`, which has no parameter for it; the documents do not tell the number.
const TOKEN_PAGE: usize = 100;

/// What both lists ask for.
struct Filter {
    descending: bool,
    /// `None`: live and deleted ones.
    deleted: Option<bool>,
}

impl Filter {
    fn of(params: &Params) -> Result<Self, ApiError> {
        let descending = check::number(params, "SortType", 1..=2, None)? == 2;
        let deleted = match check::number(params, "GroupStatus", 0..=2, Some(0))? {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        Ok(Self { descending, deleted })
    }

    /// The groups asked for, with their number in the order of creation.
    fn select<'a>(&self, app: &'a App) -> Box<dyn Iterator<Item = (u64, &'a Group)> + 'a> {
        let deleted = self.deleted;
        let all = app.groups.by_number.iter().map(|(number, group)| (*number, group));
        let wanted = all.filter(move |(_, group)| deleted.is_none_or(|deleted| group.deleted.is_some() == deleted));
        if self.descending { Box::new(wanted.rev()) } else { Box::new(wanted) }
    }
}

impl State {
    /// Pages by number. A page past the end is empty.
    pub(super) fn list_groups_by_page(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let filter = Filter::of(params)?;
        let number = check::number(params, "PageNumber", 1..=10_000, Some(1))?;
        let size = check::number(params, "PageSize", 1..=50, Some(20))?;
        let app = self.app_for_groups(params, now)?;
        let total = filter.select(app).count();
        let (skip, take) = (usize::try_from((number - 1) * size), usize::try_from(size));
        let page = filter.select(app).skip(skip.unwrap_or(usize::MAX)).take(take.unwrap_or(0));
        let page: Vec<Answer> = page.map(|(_, group)| summary(group)).collect();
        Ok(Answer::new()
            .with("TotalCount", i64::try_from(total).unwrap_or(i64::MAX))
            .with("PageNumber", number)
            .with("PageSize", size)
            .with("GroupList", page))
    }

    /// Pages by token: the number of the last group of the page before; empty or -1 for the first page.
    pub(super) fn list_groups(&mut self, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        let filter = Filter::of(params)?;
        let token = check::number(params, "NextPageToken", -1..=i64::MAX, Some(-1))?;
        let after = u64::try_from(token).ok();
        let descending = filter.descending;
        let app = self.app_for_groups(params, now)?;
        let mut rest = filter
            .select(app)
            .filter(|(number, _)| after.is_none_or(|after| if descending { *number < after } else { *number > after }));
        let page: Vec<(u64, &Group)> = rest.by_ref().take(TOKEN_PAGE).collect();
        let more = rest.next().is_some();
        let answer = Answer::new().with("Hasmore", more);
        let answer = match page.last() {
            // A string here, a number in ListLiveMessageApps: so the documents have it.
            Some((last, _)) if more => answer.with("NextpageToken", last.to_string().as_str()),
            _ => answer,
        };
        Ok(answer.with("GroupList", page.into_iter().map(|(_, group)| summary(group)).collect::<Vec<_>>()))
    }
}
