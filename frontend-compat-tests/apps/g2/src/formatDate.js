// The one date formatter of the frontend.

const format = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

// Bug: throws a RangeError on an invalid date, and with it goes the whole page, as there is no error boundary.
export const formatDate = (value) => format.format(new Date(value));
