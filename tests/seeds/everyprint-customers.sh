# With shell, you can just pass the correct header with each request
curl
	-d
		"messenger_id=58918EJS&last_name='lil kim'&gender='Male'"
	-X POST
	"http://3islabs.com/everyprint/api/customer/save"

# With shell, you can just pass the correct header with each request
curl
	-d
		"messenger_id=58918EJS"
	-X GET
	"http://3islabs.com/everyprint/api/customer/balance"
