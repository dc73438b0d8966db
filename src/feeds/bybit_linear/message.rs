//! What the venue sends, a message above the type that reads it. Fields borrow from the frame.

use super::super::wire::{Text, wire};

wire! {
    /// `{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[…]}`, and answers to requests:
    /// `{"success":true,"ret_msg":"pong","conn_id":"465772b1-…","req_id":"100001","op":"ping"}`
    struct Push {
        topic: Text<'a> = "topic", ts: Text<'a> = "ts", data: Text<'a> = "data", cs: Text<'a> = "cs", op: Text<'a> = "op",
        success: Text<'a> = "success",
    } ignored { "type" "cts" "ret_msg" "conn_id" "req_id" "args" "id" "creationTime" }
}

wire! {
    /// A [`Push`] of trades, read in one go.
    struct TradePush {
        topic: Text<'a> = "topic", ts: Text<'a> = "ts", data: Vec<Trade<'a>> = "data",
    } ignored { "cs" "op" "success" "type" "cts" "ret_msg" "conn_id" "req_id" "args" "id" "creationTime" }
}

wire! {
    /// A [`Push`] of a ticker, read in one go.
    struct TickerPush {
        topic: Text<'a> = "topic", ts: Text<'a> = "ts", cs: Text<'a> = "cs", data: Ticker<'a> = "data",
    } ignored { "op" "success" "type" "cts" "ret_msg" "conn_id" "req_id" "args" "id" "creationTime" }
}

wire! {
    /// `{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"RPI":false,"seq":1783284617}`
    struct Trade {
        ts: Text<'a> = "T", symbol: Text<'a> = "s", side: Text<'a> = "S", qty: Text<'a> = "v", price: Text<'a> = "p",
        id: Text<'a> = "i", block: Text<'a> = "BT", seq: Text<'a> = "seq", direction: Text<'a> = "L",
    } ignored { "RPI" "mP" "iP" "mIv" "iv" }
}

wire! {
    /// `{"symbol":"BTCUSDT","markPrice":"66667.10","indexPrice":"66671.2","openInterest":"492370.10","singleOpenInterest":"246185.05","fundingRate":"-0.005","fundingIntervalHour":"8","nextFundingTime":"1760342400000"}`;
    /// a delta leaves out what has not changed.
    struct Ticker {
        symbol: Text<'a> = "symbol", mark: Text<'a> = "markPrice", index: Text<'a> = "indexPrice",
        open_interest: Text<'a> = "openInterest", single_open_interest: Text<'a> = "singleOpenInterest",
        rate: Text<'a> = "fundingRate", interval: Text<'a> = "fundingIntervalHour", next_ts: Text<'a> = "nextFundingTime",
    } ignored {
        "tickDirection" "price24hPcnt" "lastPrice" "prevPrice24h" "highPrice24h" "lowPrice24h" "prevPrice1h"
        "openInterestValue" "singleOpenInterestValue" "turnover24h" "volume24h" "fundingCap" "bid1Price" "bid1Size"
        "ask1Price" "ask1Size" "preOpenPrice" "preQty" "curPreListingPhase" "deliveryTime" "deliveryFeeRate" "basis"
        "basisRate" "basisRateYear" "predictedDeliveryPrice" "usdIndexPrice"
    }
}

wire! {
    /// `{"start":1672324800000,"end":1672325099999,"interval":"5","open":"16649.5","close":"16677","high":"16677","low":"16608","volume":"2.081","turnover":"34666.4005","confirm":false,"timestamp":1672324988882}`
    struct Kline {
        open_ts: Text<'a> = "start", interval: Text<'a> = "interval", open: Text<'a> = "open", close: Text<'a> = "close",
        high: Text<'a> = "high", low: Text<'a> = "low", volume: Text<'a> = "volume", turnover: Text<'a> = "turnover",
        closed: Text<'a> = "confirm", ts: Text<'a> = "timestamp",
    } ignored { "end" }
}

wire! {
    /// `{"T":1739502302929,"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"}`
    struct Liquidation {
        ts: Text<'a> = "T", symbol: Text<'a> = "s", side: Text<'a> = "S", qty: Text<'a> = "v", price: Text<'a> = "p",
    } ignored {}
}

wire! {
    /// `{"retCode":0,"retMsg":"OK","result":{…},"retExtInfo":{},"time":1672025956592}`
    struct Answer { code: Text<'a> = "retCode", result: ResultBody<'a> = "result" } ignored { "retMsg" "retExtInfo" "time" }
}

wire! {
    /// `{"symbol":"BTCUSDT","category":"linear","list":[…],"nextPageCursor":"lastid%3D1"}`
    struct ResultBody {
        symbol: Text<'a> = "symbol", category: Text<'a> = "category", list: Text<'a> = "list",
    } ignored { "nextPageCursor" }
}

wire! {
    /// `{"symbol":"BTCUSDT","fundingRate":"0.0001","fundingRateTimestamp":"1709884800000"}`
    struct FundingPast {
        symbol: Text<'a> = "symbol", rate: Text<'a> = "fundingRate", ts: Text<'a> = "fundingRateTimestamp",
    } ignored {}
}

wire! {
    /// `{"openInterest":"63910691.00000000","singleOpenInterest":"31955346","timestamp":"1780963200000"}`
    struct OpenInterestPast {
        both: Text<'a> = "openInterest", single: Text<'a> = "singleOpenInterest", ts: Text<'a> = "timestamp",
    } ignored {}
}
