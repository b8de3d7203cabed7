//! The two operations that list groups.

use jiff::Timestamp;

use super::{App, Group, State, check, group::group_fields};
use crate::emulator::error::ApiError;
use crate::emulator::payload::Payload;
use crate::emulator::request::Params;

/// The page size of `ListLiveMessageGroups`. This is an assumption: the page size is not documented, and the operation
/// has no parameter for it.
const GROUPS_PER_PAGE: usize = 100;

/// The parameters that both operations have in common.
struct Filter {
    descending: bool,
    /// `true` to list deleted groups, `false` to list live groups, `None` to list both.
    deleted: Option<bool>,
}

impl Filter {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let descending = check::number(params, "SortType", 1..=2, None)? == 2;
        let deleted = match check::number(params, "GroupStatus", 0..=2, Some(0))? {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        Ok(Self { descending, deleted })
    }

    /// Returns the matching groups with their sequence numbers, in the requested order.
    fn select<'a>(&self, app: &'a App) -> Box<dyn Iterator<Item = (u64, &'a Group)> + 'a> {
        let deleted = self.deleted;
        let all = app.groups.by_sequence.iter().map(|(number, group)| (*number, group));
        let matching = all.filter(move |(_, group)| deleted.is_none_or(|deleted| group.deleted.is_some() == deleted));
        if self.descending { Box::new(matching.rev()) } else { Box::new(matching) }
    }
}

impl State {
    /// Lists groups by page number. A page past the end is empty.
    pub(super) fn list_groups_by_page(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let filter = Filter::from_params(params)?;
        let number = check::number(params, "PageNumber", 1..=10_000, Some(1))?;
        let size = check::number(params, "PageSize", 1..=50, Some(20))?;
        let app = self.enabled_app(params, now)?;
        let total = filter.select(app).count();
        let (skip, take) = (usize::try_from((number - 1) * size), usize::try_from(size));
        let page = filter.select(app).skip(skip.unwrap_or(usize::MAX)).take(take.unwrap_or(0));
        let page: Vec<Payload> = page.map(|(_, group)| group_fields(group)).collect();
        Ok(Payload::new()
            .with("TotalCount", i64::try_from(total).unwrap_or(i64::MAX))
            .with("PageNumber", number)
            .with("PageSize", size)
            .with("GroupList", page))
    }

    /// Lists groups by token. The token is the sequence number of the last group on the previous page. If the token is
    /// absent, empty or -1, the first page is returned.
    pub(super) fn list_groups(&mut self, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        let filter = Filter::from_params(params)?;
        let token = check::number(params, "NextPageToken", -1..=i64::MAX, Some(-1))?;
        let after = u64::try_from(token).ok();
        let descending = filter.descending;
        let app = self.enabled_app(params, now)?;
        let mut rest = filter
            .select(app)
            .filter(|(number, _)| after.is_none_or(|after| if descending { *number < after } else { *number > after }));
        let page: Vec<(u64, &Group)> = rest.by_ref().take(GROUPS_PER_PAGE).collect();
        let has_more = rest.next().is_some();
        let payload = Payload::new().with("Hasmore", has_more);
        let payload = match page.last() {
            // The token is documented as a string in this operation and as a number in ListLiveMessageApps.
            Some((last, _)) if has_more => payload.with("NextpageToken", last.to_string().as_str()),
            _ => payload,
        };
        Ok(payload.with("GroupList", page.into_iter().map(|(_, group)| group_fields(group)).collect::<Vec<_>>()))
    }
}
