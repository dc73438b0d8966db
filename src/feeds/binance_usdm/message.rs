//! What the venue sends, a message above the type that reads it. Fields borrow from the frame.

use super::super::wire::{Text, wire};

wire! {
    /// Anything, to find out what it is: `{"stream":"btcusdt@aggTrade","data":{…}}`, `{"e":"aggTrade",…}`,
    /// `{"result":null,"id":1}`, `{"code":2,"msg":"Invalid request: …","id":6}`, `{"lastUpdateId":…,"bids":…}`.
    struct Envelope {
        stream: Text<'a> = "stream", data: Text<'a> = "data", event: Text<'a> = "e", result: Text<'a> = "result",
        id: Text<'a> = "id", code: Text<'a> = "code", error: Text<'a> = "error", last_update_id: Text<'a> = "lastUpdateId",
    } ignored {}
}

wire! {
    /// `{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,"T":123456785,"m":true}`
    struct AggTrade {
        symbol: Text<'a> = "s", price: Text<'a> = "p", qty: Text<'a> = "q", first: Text<'a> = "f", last: Text<'a> = "l",
        ts: Text<'a> = "T", buyer_is_maker: Text<'a> = "m",
    } ignored { "e" "E" "a" "nq" "st" "ps" "M" }
}

wire! {
    /// `{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}`
    struct Trade {
        symbol: Text<'a> = "s", price: Text<'a> = "p", qty: Text<'a> = "q", id: Text<'a> = "t", ts: Text<'a> = "T",
        buyer_is_maker: Text<'a> = "m", kind: Text<'a> = "X",
    } ignored { "e" "E" "b" "a" "nq" "st" "ps" "M" }
}

wire! {
    /// `{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","ap":"11794.15","i":"11784.62659091","P":"11784.25","r":"0.00038167","T":1562306400000}`
    struct MarkPrice {
        event: Text<'a> = "e", ts: Text<'a> = "E", symbol: Text<'a> = "s", mark: Text<'a> = "p", index: Text<'a> = "i",
        rate: Text<'a> = "r", next_ts: Text<'a> = "T",
    } ignored { "ap" "P" "st" "ps" }
}

wire! {
    /// `{"e":"forceOrder","E":1568014460893,"o":{…}}`
    struct ForceOrder { order: ForceOrderBody<'a> = "o" } ignored { "e" "E" "st" "ps" }
}

wire! {
    /// `{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910","ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}`
    struct ForceOrderBody {
        symbol: Text<'a> = "s", side: Text<'a> = "S", qty: Text<'a> = "q", price: Text<'a> = "p", average: Text<'a> = "ap",
        filled: Text<'a> = "z", ts: Text<'a> = "T",
    } ignored { "o" "f" "X" "l" "st" "ps" }
}

wire! {
    /// `{"e":"kline","E":1638747660000,"s":"BTCUSDT","k":{…}}`
    struct KlineEvent { ts: Text<'a> = "E", kline: Kline<'a> = "k" } ignored { "e" "s" "st" "ps" }
}

wire! {
    /// `{"t":1638747660000,"T":1638747719999,"s":"BTCUSDT","i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}`
    struct Kline {
        open_ts: Text<'a> = "t", symbol: Text<'a> = "s", interval: Text<'a> = "i", open: Text<'a> = "o", close: Text<'a> = "c",
        high: Text<'a> = "h", low: Text<'a> = "l", volume: Text<'a> = "v", trades: Text<'a> = "n", closed: Text<'a> = "x",
        turnover: Text<'a> = "q", taker_buy: Text<'a> = "V",
    } ignored { "T" "f" "L" "Q" "B" }
}

wire! {
    /// `{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}`
    struct OpenInterest { base: Text<'a> = "openInterest", symbol: Text<'a> = "symbol", ts: Text<'a> = "time" } ignored {}
}

wire! {
    /// `{"symbol":"BTCUSDT","sumOpenInterest":"20403.637","sumOpenInterestValue":"150570784.07","CMCCirculatingSupply":"165880.538","timestamp":"1583127900000"}`
    struct OpenInterestPast {
        base: Text<'a> = "sumOpenInterest", symbol: Text<'a> = "symbol", ts: Text<'a> = "timestamp",
    } ignored { "sumOpenInterestValue" "CMCCirculatingSupply" }
}

wire! {
    /// `{"symbol":"BTCUSDT","fundingRate":"-0.03750000","fundingTime":1570608000000,"markPrice":"34287.54619963"}`
    struct FundingPast {
        symbol: Text<'a> = "symbol", rate: Text<'a> = "fundingRate", ts: Text<'a> = "fundingTime",
    } ignored { "markPrice" }
}

wire! {
    /// `{"symbol":"BLZUSDT","adjustedFundingRateCap":"0.025","adjustedFundingRateFloor":"-0.025","fundingIntervalHours":8,"disclaimer":false}`
    struct FundingInfo {
        symbol: Text<'a> = "symbol", interval: Text<'a> = "fundingIntervalHours",
    } ignored { "adjustedFundingRateCap" "adjustedFundingRateFloor" "disclaimer" "updateTime" }
}
